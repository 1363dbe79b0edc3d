// What the listener counts since its start, for /varz.

export interface MqttCounters {
  /** CONNECTs accepted, and refused with a return code. */
  connects: number;
  connectsRefused: number;
  /** Connections closed for breaking the protocol, for silence, for not reading, and by a second one of the same client. */
  protocolErrors: number;
  connectTimeouts: number;
  keepAliveTimeouts: number;
  slowReaders: number;
  takeovers: number;
  /** Sockets without a CONNECT that were closed to make room for newer ones. */
  halfOpenEvicted: number;
  /** PUBLISHes that came, and their data. */
  inMsgs: number;
  inBytes: number;
  /** PUBLISHes that were sent, redeliveries included, and their data. */
  outMsgs: number;
  outBytes: number;
  pubacks: number;
  /** No stream took it; a QoS 1 one was acknowledged after routing. */
  unroutedMsgs: number;
  /** QoS 1: the disk or the stream refused it; no PUBACK. */
  refusedMsgs: number;
  /** Published to a topic that devices may not use: acknowledged and dropped. */
  notPermittedMsgs: number;
  /** Last wills published. */
  wills: number;
  /** Deliveries dropped: QoS 0 to a client that does not read; QoS 1 beyond a queue's limit; QoS 1 that the disk refused. */
  droppedSlowMsgs: number;
  droppedQueueMsgs: number;
  droppedRefusedMsgs: number;
  /** Messages that were routed but not retained, for lack of room. */
  retainedRefused: number;
}

export function createCounters(): MqttCounters {
  return {
    connects: 0,
    connectsRefused: 0,
    protocolErrors: 0,
    connectTimeouts: 0,
    keepAliveTimeouts: 0,
    slowReaders: 0,
    takeovers: 0,
    halfOpenEvicted: 0,
    inMsgs: 0,
    inBytes: 0,
    outMsgs: 0,
    outBytes: 0,
    pubacks: 0,
    unroutedMsgs: 0,
    refusedMsgs: 0,
    notPermittedMsgs: 0,
    wills: 0,
    droppedSlowMsgs: 0,
    droppedQueueMsgs: 0,
    droppedRefusedMsgs: 0,
    retainedRefused: 0,
  };
}
