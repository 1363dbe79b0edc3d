// The configuration as the parts of the agent receive it: plain readonly values, times in milliseconds, sizes in bytes,
// paths absolute. What an absent table or key leaves undefined is off, or has no limit.

import type { NatsLimits } from '../nats/limits.ts';
import type { Listen } from './values.ts';

export type { Listen } from './values.ts';

export interface Config {
  /** The file it was read from, absolute. */
  readonly file: string;
  readonly gateway: GatewayConfig;
  /** The JetStream domain, for local clients too: the one of `leaf`, or the gateway's name. */
  readonly domain: string;
  readonly log: LogConfig;
  readonly mqtt: MqttConfig | undefined;
  readonly nats: NatsConfig | undefined;
  readonly monitor: MonitorConfig | undefined;
  readonly jetstream: JetStreamConfig;
  readonly streams: readonly StreamConfig[];
  readonly serial: readonly SerialConfig[];
  readonly mqttSources: readonly MqttSourceConfig[];
  readonly hub: HubConfig | undefined;
  readonly forwards: readonly ForwardConfig[];
  readonly leaf: LeafConfig | undefined;
  readonly kvMirrors: readonly KvMirrorConfig[];
}

export interface GatewayConfig {
  readonly name: string;
  readonly dataDir: string;
  /** How long a commit waits for more messages; 0 commits as fast as the disk allows. */
  readonly commitIntervalMs: number;
}

export interface LogConfig {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';
}

export interface MqttConfig {
  readonly listen: Listen;
  readonly users: readonly MqttUser[];
  /** More users, with hashes: a file of mosquitto_passwd. */
  readonly passwordFile: string | undefined;
  /** Whether a client without a user name may connect. Never true by default off loopback or where there are users. */
  readonly allowAnonymous: boolean;
  /** Undefined: no TLS. */
  readonly tls: MqttTls | undefined;
  /** Undefined: no WebSocket. */
  readonly websocket: MqttWebSocket | undefined;
  /** Undefined: everything is allowed on loopback, and nothing elsewhere. */
  readonly acl: readonly MqttAclEntry[] | undefined;
  readonly limits: MqttConfigLimits;
  /** How often $SYS topics are published; 0: never. */
  readonly sysIntervalMs: number;
}

/** The password is here, or in a file of its own; or what mosquitto_passwd made of it. */
export type MqttUser =
  | { readonly user: string; readonly password: string }
  | { readonly user: string; readonly hash: string }
  | { readonly user: string; readonly passwordFile: string };

export interface MqttTls {
  readonly certFile: string;
  readonly keyFile: string;
  /** Whoever has no certificate of this authority is refused; undefined: nobody needs one. */
  readonly caFile: string | undefined;
  /** Undefined: TLS is spoken at `listen` of [mqtt], and nothing else there. */
  readonly listen: Listen | undefined;
  readonly userFromCertificate: boolean;
}

export interface MqttWebSocket {
  readonly listen: Listen;
  readonly origins: readonly string[];
  readonly tls: boolean;
}

/** Topic filters, with %c for the Client Identifier and %u for the user. */
export interface MqttAclEntry {
  /** Undefined: every client, anonymous ones too. */
  readonly users: readonly string[] | undefined;
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  readonly denyPublish: readonly string[];
  readonly denySubscribe: readonly string[];
}

/** In the words of the listener's own limits. */
export interface MqttConfigLimits {
  readonly connectionsMax: number;
  readonly queuedMessagesMax: number;
  readonly queuedBytesMax: number;
  readonly queueDiscard: 'new' | 'old';
  /** 0xFFFFFFFF: sessions of clients that wish it stay for ever. */
  readonly sessionExpirySecondsMax: number;
  /** 0: every client's own holds. */
  readonly keepAliveSecondsMax: number;
  readonly publishesInFlightMax: number;
  readonly packetBytesMax: number;
}

export interface NatsConfig {
  readonly listen: Listen;
  readonly users: readonly NatsUser[];
  /** Whether a client without a login may connect. Never true by default off loopback or where there are users. */
  readonly allowAnonymous: boolean;
  /** Undefined: no TLS. */
  readonly tls: ServerTls | undefined;
  /** Undefined: no WebSocket. */
  readonly websocket: { readonly listen: Listen; readonly origins: readonly string[] } | undefined;
  /** Other limits than usual; the file has no key for them. */
  readonly limits?: Partial<NatsLimits>;
}

export interface NatsUser {
  readonly user: string;
  /** The one way in which the user logs in. A secret is here, or in a file of its own. */
  readonly login:
    | { readonly type: 'password' | 'token'; readonly password: string }
    | { readonly type: 'password' | 'token'; readonly file: string }
    | { readonly type: 'nkey'; readonly publicKey: string };
  /** Undefined: everything. */
  readonly permissions: NatsPermissions | undefined;
}

export interface NatsPermissions {
  /** Undefined: everything that is not denied. */
  readonly publish: readonly string[] | undefined;
  readonly denyPublish: readonly string[];
  readonly subscribe: readonly string[] | undefined;
  readonly denySubscribe: readonly string[];
  readonly allowResponses: boolean;
}

export interface ServerTls {
  readonly certFile: string;
  readonly keyFile: string;
  /** Whoever has no certificate of this authority is refused; undefined: nobody needs one. */
  readonly caFile: string | undefined;
  /** TLS begins before the agent's first word. */
  readonly handshakeFirst: boolean;
}

export interface MonitorConfig {
  readonly listen: Listen;
}

export interface JetStreamConfig {
  /** What streams that clients make may take of the disk together; undefined: a quarter of what is free. */
  readonly fileBytesMax: number | undefined;
  /** What streams in memory may take together. */
  readonly memoryBytesMax: number;
}

export interface StreamConfig {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly retention: 'limits' | 'interest' | 'workqueue';
  readonly storage: 'file' | 'memory';
  readonly maxAgeMs: number | undefined;
  /** Undefined: the store gives it a share of the disk, or of the memory for streams. */
  readonly maxBytes: number | undefined;
  readonly maxMsgs: number | undefined;
  readonly discard: 'old' | 'new';
  readonly duplicateWindowMs: number;
  readonly duplicateIdsMax: number;
}

export type FramingConfig =
  | { readonly type: 'line' }
  | { readonly type: 'delimiter'; readonly delimiter: Buffer }
  | { readonly type: 'fixed'; readonly length: number; readonly idleMs: number | undefined };

export interface SerialConfig {
  readonly name: string;
  readonly path: string;
  readonly baudRate: number;
  readonly dataBits: 5 | 6 | 7 | 8;
  readonly stopBits: 1 | 2;
  readonly parity: 'none' | 'even' | 'odd';
  readonly framing: FramingConfig;
  /** Never smaller than the length of a fixed frame. */
  readonly frameBytesMax: number;
  readonly decode: 'raw';
  readonly subject: string;
}

/** An existing broker to read from. */
export interface MqttSourceConfig {
  readonly name: string;
  /** IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** Undefined: no TLS. */
  readonly tls: TlsFiles | undefined;
  /** Topic Filters. */
  readonly topics: readonly string[];
  readonly qos: 0 | 1;
  /** Stands before the subject of every message. */
  readonly prefix: string | undefined;
  readonly clientId: string;
  readonly retained: boolean;
  readonly protocol: 'auto' | '5' | '3.1.1';
  readonly user: string | undefined;
  readonly passwordFile: string | undefined;
  readonly keepAliveMs: number;
  readonly reconnectMaxMs: number;
}

export interface TlsFiles {
  /** Undefined: the public authorities that Node brings. */
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
}

/** How to log in at the hub. Files are read when they are needed, so that they can be replaced while the agent runs. */
export type HubAuth =
  | { readonly type: 'none' }
  | { readonly type: 'credentials'; readonly file: string }
  | { readonly type: 'password'; readonly user: string; readonly passwordFile: string }
  | { readonly type: 'token'; readonly file: string }
  | { readonly type: 'nkey'; readonly file: string };

export interface HubTls {
  /** Undefined: the public authorities that Node brings. */
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  /** TLS begins before the server's first word. */
  readonly handshakeFirst: boolean;
}

export interface HubConfig {
  /** `host:port`, IPv6 in brackets; the scheme has become `tls`. */
  readonly servers: readonly string[];
  readonly auth: HubAuth;
  /** Undefined: no TLS, unless the server asks for it. */
  readonly tls: HubTls | undefined;
  readonly stream: string;
  readonly prefix: string;
  readonly create: boolean;
  /** A link that brings nothing for this long is dead. */
  readonly keepAliveMs: number;
  readonly reconnectMaxMs: number;
}

export interface ForwardConfig {
  readonly stream: string;
  readonly mode: 'auto' | 'atomic' | 'fast' | 'window';
  readonly order: 'strict' | 'relaxed';
  readonly graceMs: number;
}

/** The leafnode link. What crosses beside JetStream is listed: nothing by default. */
export interface LeafConfig {
  /** `host:port`, IPv6 in brackets; the scheme has become `tls`. */
  readonly urls: readonly string[];
  readonly auth: HubAuth;
  /** Undefined: no TLS, unless the server asks for it. */
  readonly tls: HubTls | undefined;
  /** The JetStream domain of this gateway; undefined: nothing of JetStream crosses. */
  readonly domain: string | undefined;
  /** Subjects of local publishes that may go to the hub, with wildcards. */
  readonly exports: readonly string[];
  /** Subjects that may come from the hub, with wildcards. */
  readonly imports: readonly string[];
  /** Whether what crosses is compressed, where the hub does so too; `auto`: on a line that is longer than a LAN's. */
  readonly compression: 'auto' | 'on' | 'off';
  /** A link that makes no progress for this long is dead. */
  readonly keepAliveMs: number;
  readonly reconnectMaxMs: number;
}

/** A key-value bucket of the hub that is kept here too. */
export interface KvMirrorConfig {
  readonly bucket: string;
  /** The JetStream domain that has it; undefined: the one of the hub that the link is connected to. */
  readonly domain: string | undefined;
  /** Values kept of each key; undefined: as many as the hub keeps. */
  readonly history: number | undefined;
  /** Undefined: as for a stream. */
  readonly maxBytes: number | undefined;
}
