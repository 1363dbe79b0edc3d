// Scripts about what comes by the clock: redelivery, expiry, markers, heartbeats, flow control, thresholds, pauses. The
// waits are long beside what is waited for, so that a busy machine does not matter. Each has streams and subjects of its
// own: they can run at the same time.

import { MS, SECOND } from './jetstream-configs.ts';
import { ScriptWriter, type Script } from './jetstream-script.ts';
import { TIMED_CONSUMERS } from './jetstream-timed-consumers.ts';

type Body = (script: ScriptWriter) => void;

function stream(script: ScriptWriter, name: string, options: object = {}): void {
  const config = { name, subjects: [`${name}.>`], storage: 'file', allow_direct: true, ...options };
  script.api(`STREAM.CREATE.${name}`, config);
}

function consumer(script: ScriptWriter, of: string, name: string, config: object): number {
  return script.api(`CONSUMER.CREATE.${of}.${name}`, {
    stream_name: of,
    config: { durable_name: name, name, ack_policy: 'explicit', ...config },
  });
}

function fetch(
  script: ScriptWriter,
  of: string,
  body: object,
  messages: number,
  ms: number,
): number {
  return script.add({ do: 'fetch', subject: `CONSUMER.MSG.NEXT.${of}`, body, messages, ms });
}

function publishAll(script: ScriptWriter, name: string, count: number): void {
  for (let i = 1; i <= count; i++) script.publish(`${name}.${i}`, `m${i}`);
}

const SCRIPTS: Readonly<Record<string, Body>> = {
  'a message that nobody acknowledges comes again after ack_wait'(script) {
    stream(script, 'TA');
    publishAll(script, 'TA', 3);
    consumer(script, 'TA', 'C', { ack_wait: 400 * MS, max_deliver: 3 });
    const first = fetch(script, 'TA.C', { batch: 3, expires: SECOND }, 3, 1_500);
    script.add({ do: 'ack', of: first, index: 0, data: '+ACK', sync: true });
    script.add({ do: 'ack', of: first, index: 1, data: '+TERM', sync: true });
    fetch(script, 'TA.C', { batch: 3, expires: 700 * MS }, 3, 1_500);
    script.api('CONSUMER.INFO.TA.C');
    fetch(script, 'TA.C', { batch: 3, expires: 700 * MS }, 3, 1_500);
    fetch(script, 'TA.C', { batch: 3, expires: 700 * MS }, 3, 1_500);
    script.api('CONSUMER.INFO.TA.C');
  },
  'backoff decides when a message comes again'(script) {
    stream(script, 'TB');
    publishAll(script, 'TB', 1);
    consumer(script, 'TB', 'C', { backoff: [300 * MS, 900 * MS], max_deliver: 4 });
    fetch(script, 'TB.C', { batch: 1, expires: 200 * MS }, 1, 600);
    fetch(script, 'TB.C', { batch: 1, expires: 600 * MS }, 1, 1_200);
    fetch(script, 'TB.C', { batch: 1, expires: 500 * MS }, 1, 1_200);
    fetch(script, 'TB.C', { batch: 1, expires: 800 * MS }, 1, 1_500);
    script.api('CONSUMER.INFO.TB.C');
  },
  'a delayed nak keeps a message back for so long'(script) {
    stream(script, 'TC');
    publishAll(script, 'TC', 2);
    consumer(script, 'TC', 'C', {});
    const first = fetch(script, 'TC.C', { batch: 2, expires: SECOND }, 2, 1_500);
    script.add({ do: 'ack', of: first, index: 0, data: '-NAK {"delay":600000000}', sync: true });
    script.add({ do: 'ack', of: first, index: 1, data: '-NAK', sync: true });
    fetch(script, 'TC.C', { batch: 2, expires: 250 * MS }, 2, 600);
    fetch(script, 'TC.C', { batch: 1, expires: 900 * MS }, 1, 1_500);
    script.api('CONSUMER.INFO.TC.C');
  },
  'work in progress keeps a message from coming again'(script) {
    stream(script, 'TD');
    publishAll(script, 'TD', 1);
    consumer(script, 'TD', 'C', { ack_wait: 600 * MS });
    const first = fetch(script, 'TD.C', { batch: 1, expires: SECOND }, 1, 1_500);
    for (let i = 0; i < 3; i++) {
      script.add({ do: 'wait', ms: 350 });
      script.add({ do: 'ack', of: first, index: 0, data: '+WPI', sync: true });
    }
    fetch(script, 'TD.C', { batch: 1, no_wait: true }, 1, 300);
    fetch(script, 'TD.C', { batch: 1, expires: 1_200 * MS }, 1, 1_800);
  },
  'what max_deliver gives up is told, and stays'(script) {
    const advisories = script.add({
      do: 'subscribe',
      subject: '$JS.EVENT.ADVISORY.CONSUMER.*.TE.>',
    });
    stream(script, 'TE', { retention: 'workqueue' });
    publishAll(script, 'TE', 1);
    consumer(script, 'TE', 'C', { ack_wait: 300 * MS, max_deliver: 1, sample_freq: '100' });
    script.add({ do: 'subscribe', subject: '$JS.EVENT.METRIC.CONSUMER.ACK.TE.>' });
    const first = fetch(script, 'TE.C', { batch: 1, expires: SECOND }, 1, 1_500);
    script.add({ do: 'wait', ms: 900 });
    script.api('STREAM.INFO.TE');
    script.add({ do: 'ack', of: first, index: 0, data: '+ACK', sync: true });
    script.api('CONSUMER.INFO.TE.C');
    script.publish('TE.x', 'again');
    const second = fetch(script, 'TE.C', { batch: 1, expires: SECOND }, 1, 1_500);
    script.add({ do: 'ack', of: second, index: 0, data: '+TERM it is broken', sync: true });
    script.publish('TE.y', 'and again');
    const third = fetch(script, 'TE.C', { batch: 1, expires: SECOND }, 1, 1_500);
    script.add({ do: 'ack', of: third, index: 0, data: '-NAK', sync: true });
    script.publish('TE.z', 'once more');
    const fourth = fetch(script, 'TE.C', { batch: 1, expires: SECOND }, 1, 1_500);
    script.add({ do: 'ack', of: fourth, index: 0, data: '+ACK', sync: true });
    script.api('STREAM.INFO.TE');
    script.add({ do: 'unsubscribe', of: advisories });
  },
  'messages go when they are old'(script) {
    stream(script, 'TF', { max_age: 500 * MS, duplicate_window: 200 * MS });
    publishAll(script, 'TF', 3);
    script.publish('TF.1', 'i', [['Nats-Msg-Id', 'one']]);
    script.publish('TF.1', 'i', [['Nats-Msg-Id', 'one']]);
    script.add({ do: 'wait', ms: 1_500 });
    script.publish('TF.1', 'i', [['Nats-Msg-Id', 'one']]);
    script.api('STREAM.INFO.TF', { deleted_details: true, subjects_filter: '>' });
    script.api('STREAM.MSG.GET.TF', { seq: 1 });
  },
  'messages with a TTL go, and a marker says so'(script) {
    stream(script, 'TG', {
      allow_msg_ttl: true,
      subject_delete_marker_ttl: 60 * SECOND,
      allow_rollup_hdrs: true,
    });
    script.publish('TG.a', 'short', [['Nats-TTL', '1']]);
    script.publish('TG.b', 'long', [['Nats-TTL', '1h']]);
    script.publish('TG.c', 'never', [['Nats-TTL', 'never']]);
    script.api('STREAM.PURGE.TG', { filter: 'TG.b' });
    script.api('STREAM.MSG.GET.TG', { last_by_subj: 'TG.b' });
    script.api('STREAM.MSG.DELETE.TG', { seq: 3 });
    script.api('STREAM.MSG.GET.TG', { last_by_subj: 'TG.c' });
    script.api('STREAM.INFO.TG', { deleted_details: true, subjects_filter: '>' });
  },
  'a TTL of a second is over after three'(script) {
    stream(script, 'TH', { allow_msg_ttl: true });
    script.publish('TH.a', 'short', [['Nats-TTL', '1']]);
    script.publish('TH.a', 'long', [['Nats-TTL', '1h']]);
    script.publish('TH.b', 'short', [['Nats-TTL', '1s']]);
    script.add({ do: 'wait', ms: 3_000 });
    script.api('STREAM.INFO.TH', { deleted_details: true, subjects_filter: '>' });
  },
  'age makes markers where the stream wants them'(script) {
    stream(script, 'TI', { max_age: SECOND, subject_delete_marker_ttl: 3_600 * SECOND });
    script.publish('TI.a', 'one');
    script.publish('TI.a', 'two');
    script.publish('TI.b', 'three');
    script.add({ do: 'wait', ms: 3_000 });
    script.api('STREAM.MSG.GET.TI', { last_by_subj: 'TI.a' });
    script.api('STREAM.MSG.GET.TI', { last_by_subj: 'TI.b' });
    script.api('STREAM.INFO.TI', { subjects_filter: '>' });
  },
  'a consumer that nobody uses goes'(script) {
    script.add({ do: 'subscribe', subject: '$JS.EVENT.ADVISORY.CONSUMER.DELETED.TJ.>' });
    stream(script, 'TJ');
    consumer(script, 'TJ', 'C', { inactive_threshold: 500 * MS });
    const ephemeral = script.api('CONSUMER.CREATE.TJ', {
      stream_name: 'TJ',
      config: {
        ack_policy: 'none',
        inactive_threshold: 600 * MS,
        deliver_subject: 'nobody.is.there',
      },
    });
    script.add({ do: 'wait', ms: 3_000 });
    script.api('CONSUMER.INFO.TJ.C');
    script.api(`CONSUMER.INFO.TJ.{${ephemeral}}`);
    script.api('CONSUMER.NAMES.TJ');
  },
  'a paused consumer rests until its time'(script) {
    stream(script, 'TK');
    publishAll(script, 'TK', 1);
    consumer(script, 'TK', 'C', {});
    script.api('CONSUMER.PAUSE.TK.C', { pause_until: '2030-01-01T00:00:00Z' });
    fetch(script, 'TK.C', { batch: 1, expires: 300 * MS }, 1, 700);
    script.api('CONSUMER.INFO.TK.C');
    script.api('CONSUMER.PAUSE.TK.C');
    fetch(script, 'TK.C', { batch: 1, expires: 300 * MS }, 1, 700);
    script.api('CONSUMER.INFO.TK.C');
  },
  'a pull expires with what it still wanted'(script) {
    stream(script, 'TL');
    publishAll(script, 'TL', 2);
    consumer(script, 'TL', 'C', {});
    fetch(script, 'TL.C', { batch: 5, expires: 300 * MS }, 5, 900);
    fetch(script, 'TL.C', { batch: 5, expires: 300 * MS, max_bytes: 1_000 }, 5, 900);
    script.publish('TL.x', 'y'.repeat(500));
    fetch(script, 'TL.C', { batch: 5, expires: 300 * MS, max_bytes: 100 }, 5, 900);
    fetch(script, 'TL.C', { batch: 5, expires: 300 * MS, max_bytes: 650 }, 5, 900);
  },
  'deleting a consumer tells those who wait'(script) {
    stream(script, 'TM');
    consumer(script, 'TM', 'C', {});
    fetch(script, 'TM.C', { batch: 5, expires: 5 * SECOND }, 5, 100);
    fetch(script, 'TM.C', { batch: 2, expires: 5 * SECOND, idle_heartbeat: SECOND }, 2, 100);
    script.api('CONSUMER.INFO.TM.C');
    script.api('CONSUMER.DELETE.TM.C');
    consumer(script, 'TM', 'D', {});
    fetch(script, 'TM.D', { batch: 5, expires: 5 * SECOND }, 5, 100);
    script.api('STREAM.DELETE.TM');
  },
  'messages are redelivered to a push consumer as well'(script) {
    stream(script, 'TN');
    const box = script.add({ do: 'subscribe', subject: 'out.TN' });
    consumer(script, 'TN', 'C', { deliver_subject: 'out.TN', ack_wait: 500 * MS, max_deliver: 2 });
    publishAll(script, 'TN', 2);
    script.add({ do: 'ack', of: box, index: 0, data: '+ACK', sync: true });
    script.add({ do: 'wait', ms: 1_800 });
    script.api('CONSUMER.INFO.TN.C');
  },
  'a push consumer rests while nobody listens'(script) {
    stream(script, 'TO');
    consumer(script, 'TO', 'C', { deliver_subject: 'out.TO', ack_policy: 'none' });
    publishAll(script, 'TO', 2);
    script.api('CONSUMER.INFO.TO.C');
    const box = script.add({ do: 'subscribe', subject: 'out.TO' });
    script.add({ do: 'wait', ms: 600 });
    script.api('CONSUMER.INFO.TO.C');
    script.add({ do: 'unsubscribe', of: box });
    publishAll(script, 'TO', 2);
    script.add({ do: 'wait', ms: 600 });
    script.api('CONSUMER.INFO.TO.C');
    script.add({ do: 'subscribe', subject: 'out.TO' });
    script.add({ do: 'wait', ms: 600 });
    script.api('CONSUMER.INFO.TO.C');
  },
  'an update of filters changes what is to come'(script) {
    stream(script, 'TP');
    publishAll(script, 'TP', 6);
    consumer(script, 'TP', 'C', { filter_subject: 'TP.1' });
    fetch(script, 'TP.C', { batch: 1, no_wait: true }, 1, 500);
    consumer(script, 'TP', 'C', { filter_subjects: ['TP.2', 'TP.5'] });
    script.api('CONSUMER.INFO.TP.C');
    fetch(script, 'TP.C', { batch: 5, no_wait: true }, 5, 500);
    consumer(script, 'TP', 'C', { max_ack_pending: 1 });
    fetch(script, 'TP.C', { batch: 5, no_wait: true }, 5, 500);
    script.api('CONSUMER.INFO.TP.C');
  },
  'limits that become smaller are kept'(script) {
    stream(script, 'TQ');
    for (let i = 0; i < 3; i++) publishAll(script, 'TQ', 3);
    stream(script, 'TQ2');
    const update = (options: object): number =>
      script.api('STREAM.UPDATE.TQ', {
        name: 'TQ',
        subjects: ['TQ.>'],
        storage: 'file',
        allow_direct: true,
        ...options,
      });
    update({ max_msgs: 7 });
    script.api('STREAM.INFO.TQ', { deleted_details: true });
    update({ max_msgs: 7, max_msgs_per_subject: 1 });
    script.add({ do: 'wait', ms: 300 });
    script.api('STREAM.INFO.TQ', { deleted_details: true });
    update({ max_msgs: 7, max_msgs_per_subject: 1, subjects: ['TQ.1', 'TQ.2'] });
    script.publish('TQ.3', 'nobody');
    update({ max_age: 500 * MS, duplicate_window: 200 * MS });
    script.add({ do: 'wait', ms: 1_500 });
    script.api('STREAM.INFO.TQ', { deleted_details: true });
    update({ sealed: true, max_age: 500 * MS, duplicate_window: 200 * MS });
    script.publish('TQ.1', 'x');
    update({ sealed: false });
  },
};

const TIMED_STREAMS = Object.entries(SCRIPTS).map(([name, body]) => {
  const script = new ScriptWriter();
  body(script);
  return { name, script: script.steps };
});

/** Each with a name. */
export const TIMED: readonly { readonly name: string; readonly script: Script }[] = [
  ...TIMED_STREAMS,
  ...TIMED_CONSUMERS,
];
