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
  /** Sessions that ended because nobody came back for them in time. */
  sessionsExpired: number;
  /** Control Packets of all kinds, and all bytes. */
  inPackets: number;
  inPacketBytes: number;
  outPackets: number;
  outPacketBytes: number;
  /** PUBLISHes that came, and their data. */
  inMsgs: number;
  inBytes: number;
  /** PUBLISHes that were sent, redeliveries included, and their data. */
  outMsgs: number;
  outBytes: number;
  /** Acknowledgements of success that we sent: PUBACK, and PUBREC for QoS 2. */
  pubacks: number;
  pubrecs: number;
  /** No stream took it; a QoS 1 one was acknowledged after routing. */
  unroutedMsgs: number;
  /** The disk or the stream refused it: no positive answer at QoS 1 and 2, lost at QoS 0. */
  refusedMsgs: number;
  /** PUBLISHes that were not taken: not permitted, or not what they say; 5.0 is told, older versions get their PUBACK. */
  notPermittedMsgs: number;
  /** Last wills published. */
  wills: number;
  /** Last wills that were refused and could not be kept for another try. */
  willsDropped: number;
  /** Messages of a shared subscription that none of its members could take. */
  sharedDroppedMsgs: number;
  /** Deliveries dropped: QoS 0 to a client that does not read; QoS 1 beyond a queue's limit; QoS 1 that the disk refused. */
  droppedSlowMsgs: number;
  droppedQueueMsgs: number;
  droppedRefusedMsgs: number;
  /** Deliveries dropped: expired while they waited; larger than the client takes; not permitted to it any more. */
  droppedExpiredMsgs: number;
  droppedLargeMsgs: number;
  droppedForbiddenMsgs: number;
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
    sessionsExpired: 0,
    inPackets: 0,
    inPacketBytes: 0,
    outPackets: 0,
    outPacketBytes: 0,
    inMsgs: 0,
    inBytes: 0,
    outMsgs: 0,
    outBytes: 0,
    pubacks: 0,
    pubrecs: 0,
    unroutedMsgs: 0,
    refusedMsgs: 0,
    notPermittedMsgs: 0,
    wills: 0,
    willsDropped: 0,
    sharedDroppedMsgs: 0,
    droppedSlowMsgs: 0,
    droppedQueueMsgs: 0,
    droppedRefusedMsgs: 0,
    droppedExpiredMsgs: 0,
    droppedLargeMsgs: 0,
    droppedForbiddenMsgs: 0,
    retainedRefused: 0,
  };
}
