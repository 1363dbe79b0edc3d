// What the doors, the logins and the connections say to each other about a client: where it is, what it proves itself
// with, and what it may do.

/** Where a client is, and by which door it came. */
export interface Peer {
  readonly ip: string;
  readonly port: number;
  readonly door: 'tcp' | 'tls' | 'websocket';
  /** Its door listens on loopback. */
  readonly local: boolean;
  /** The socket is encrypted: also true for a WebSocket inside TLS. */
  readonly tls: boolean;
  /** The Common Name of the client's certificate, verified by the handshake; undefined for none, or more than one. */
  readonly certificateName?: string | undefined;
}

/** What CONNECT brings: a `Connect` packet is one. */
export interface Login {
  readonly username: string | undefined;
  readonly password: Buffer | undefined;
}

/** What one connection may do, in subjects. The same object stays with the connection: when rules change, its answers do. */
export interface Access {
  mayPublish(subject: string): boolean;
  /** `filter`: of a subscription, behind `$share/<name>/`. What lies above `a.>` (MQTT's `a/#` matches `a`) is looked at too. */
  maySubscribe(filter: string): boolean;
  /** Whether some of what falls under `filter` must be kept from the client: then `mayReceive` decides. */
  isSifted(filter: string): boolean;
  mayReceive(subject: string): boolean;
  /**
   * A message whose Response Topic stands for `subject` was delivered. Where it is an inbox (`_INBOX.…`) the client may
   * publish there for two minutes; everything else needs the access list.
   */
  received(subject: string): void;
}

/** Who a client is, once it has been let in. */
export interface Admitted {
  /** Undefined for anonymous. */
  readonly user: string | undefined;
  readonly access: Access;
}

/** Why a client is not let in: names of reason codes of MQTT 5.0. */
export interface Refused {
  readonly refused: 'badUserNameOrPassword' | 'notAuthorized' | 'serverBusy';
  /** For the log; never a secret. */
  readonly reason: string;
}

export type Verdict = Admitted | Refused;
