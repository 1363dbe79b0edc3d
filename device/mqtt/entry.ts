// The way in of one client: its CONNECT is judged, its password checked, its session opened, and CONNACK made; that of a
// session that stays is made when the disk has it. Gone when the client is in, or refused.

import type { Cancel } from '../../src/clock.ts';
import { withoutForeignReply } from './access/foreign-reply.ts';
import type { Access, Admitted, Peer, Verdict } from './access/types.ts';
import {
  connackProperties,
  DISK_FULL,
  FOREIGN_SESSION,
  NO_ROOM_FOR_CONNACK,
  refusalOf,
  TOO_MANY_CONNECTIONS,
  TOO_MANY_SESSIONS,
  TOO_MANY_WILLS,
  willOf,
  willRefusal,
  type Refusal,
  type Terms,
} from './connect.ts';
import type { Session } from './session/session.ts';
import type { Link, OpenRequest, Will } from './session/types.ts';
import type { Shared } from './shared.ts';
import { encodeConnack } from './wire/connect-packet.ts';
import { ReasonCode } from './wire/reason-codes.ts';
import type { Connect } from './wire/types.ts';

/** A client that was let in. */
export interface Client extends Terms {
  readonly session: Session;
  readonly access: Access;
  readonly admitted: Admitted;
}

/** The connection that a client comes in by. */
export interface Entrance {
  readonly peer: Peer;
  /** What the session sends to. */
  readonly link: Link;
  /** Whether one more client may connect; `instead` of another connection of the same client. */
  admits(instead: boolean): boolean;
  /** Its session is open: from here on `sessions.close` has to be called. */
  entered(client: Client): void;
  /** Everything that CONNACK speaks of is on the disk. */
  welcome(connack: Buffer): void;
  /** `client` is what it calls itself. */
  refuse(refusal: Refusal, client: { clientId: string; user: string | undefined }): void;
}

export class Entry {
  readonly #shared: Shared;
  readonly #connect: Connect;
  readonly #terms: Terms;
  readonly #entrance: Entrance;
  #cancelLogin: Cancel | undefined;
  #closed = false;

  constructor(shared: Shared, connect: Connect, terms: Terms, entrance: Entrance) {
    this.#shared = shared;
    this.#connect = connect;
    this.#terms = terms;
    this.#entrance = entrance;
  }

  /** Judges the CONNECT. Throws a TopicError for a Will Topic that is none. */
  begin(): void {
    const { limits, sessions, logins } = this.#shared;
    const connect = this.#connect;
    const refusal = refusalOf(connect, limits);
    if (refusal !== undefined) return this.#refuse(refusal);
    const will = willOf(connect);
    const clientId = connect.clientId === '' ? sessions.newClientId() : connect.clientId;
    if (this.#connack(clientId, false).length > this.#terms.packetBytesMax)
      return this.#refuse(NO_ROOM_FOR_CONNACK); // [MQTT-3.1.2-24]
    const cancel = logins.check(connect, this.#entrance.peer, clientId, (verdict) => {
      this.#cancelLogin = undefined;
      if (!this.#closed) this.#judged(clientId, will, verdict);
    });
    if (!this.#closed) this.#cancelLogin = cancel;
  }

  /** The connection is gone. */
  close(): void {
    this.#closed = true;
    this.#cancelLogin?.();
  }

  #judged(clientId: string, will: Will | undefined, verdict: Verdict): void {
    if ('refused' in verdict) {
      const { refused, reason } = verdict;
      return this.#refuse({ reasonCode: ReasonCode[refused], reason });
    }
    const { cleanStart, expirySeconds } = this.#terms;
    const { access, user } = verdict;
    const lasting = will && { ...will, message: withoutForeignReply(will.message, access) };
    const request = { clientId, cleanStart, expirySeconds, will: lasting, user };
    const refusal = willRefusal(will, access) ?? this.#lackOfRoom(request);
    if (refusal !== undefined) this.#refuse(refusal);
    else this.#open(request, verdict);
  }

  #lackOfRoom(request: OpenRequest): Refusal | undefined {
    const { sessions } = this.#shared;
    if (!this.#entrance.admits(sessions.owned(request.clientId))) return TOO_MANY_CONNECTIONS;
    switch (sessions.refusal(request)) {
      case 'foreign':
        return FOREIGN_SESSION;
      case 'full':
        return TOO_MANY_SESSIONS;
      case 'wills':
        return TOO_MANY_WILLS;
      case undefined:
        return undefined;
    }
  }

  #open(request: OpenRequest, admitted: Admitted): void {
    const { sessions } = this.#shared;
    const opened = sessions.open(request, this.#entrance.link, (error) => {
      if (this.#closed) return;
      if (error === null) welcome();
      else this.#refuse(DISK_FULL);
    });
    const { session, present, written } = opened;
    const welcome = (): void => {
      this.#closed = true;
      this.#entrance.welcome(this.#connack(session.clientId, present));
    };
    this.#entrance.entered({ ...this.#terms, session, access: admitted.access, admitted });
    if (!written) welcome();
  }

  #connack(clientId: string, sessionPresent: boolean): Buffer {
    const { version } = this.#terms;
    const properties = connackProperties(this.#connect, clientId, this.#shared.limits);
    return encodeConnack({ version, reasonCode: ReasonCode.success, sessionPresent, properties });
  }

  #refuse(refusal: Refusal): void {
    this.#closed = true;
    const { clientId, username } = this.#connect;
    this.#entrance.refuse(refusal, { clientId, user: username });
  }
}
