// What consumers do over time, as scripts for the differential test: resets and updates, acks that come late or to the
// wrong one, streams that change under a consumer.

import { ConsumerSteps, MS, SECOND, type StepsBody } from './jetstream-consumer-steps.ts';
import { ScriptWriter, type Script } from './jetstream-script.ts';
import { OUTLET_SCRIPTS } from './jetstream-timed-outlets.ts';

const CONSUMER_SCRIPTS: Readonly<Record<string, StepsBody>> = {
  'a reset goes back to the ack floor, or where it is told'(_, s) {
    s.stream();
    s.publish(6);
    s.consumer('C');
    const first = s.take('C', 4);
    s.ack(first, 0);
    s.ack(first, 2);
    s.reset('C');
    s.take('C', 2);
    s.info('C');
    s.reset('C', { seq: 5 });
    s.take('C', 9);
    s.ack(first, 1);
    s.info('C');
    s.reset('C', { seq: 1000 });
    s.info('C');
    s.publish(1, 7);
    s.take('C', 1);
    s.reset('C', { seq: 1 });
    s.reset('C', '');
    s.reset('C', '{}');
    s.reset('C', { seq: -1 });
    s.reset('C', { seq: 'x' });
    s.reset('C', '[');
    s.reset('C', { seq: 2, x: 1 });
    s.take('C', 9);
    s.info('C');
  },
  'a reset keeps to the deliver policy'(script, s) {
    s.stream();
    s.publish(5);
    s.consumer('L', { deliver_policy: 'last' });
    s.consumer('N', { deliver_policy: 'new' });
    s.consumer('S', { deliver_policy: 'by_start_sequence', opt_start_seq: 3 });
    s.consumer('P', { deliver_policy: 'last_per_subject', filter_subject: `${s.name}.*` });
    for (const name of ['L', 'N', 'S', 'P']) {
      s.reset(name, { seq: 2 });
      s.reset(name, { seq: 3 });
      s.reset(name);
    }
    script.api(`CONSUMER.RESET.${s.name}.S`, { seq: 4 });
    s.take('S', 5);
    s.consumer('A', { ack_policy: 'all' });
    const all = s.take('A', 4);
    s.ack(all, 1);
    s.reset('A');
    s.take('A', 1);
    s.consumer('O', { ack_policy: 'none' });
    s.take('O', 2);
    s.reset('O');
    s.reset('O', { seq: 1 });
    s.take('O', 9);
    s.info('O');
  },
  'a reset of an interest stream lets go what is behind it'(_, s) {
    s.stream({ retention: 'interest' });
    s.consumer('C');
    s.publish(6);
    s.reset('C', { seq: 4 });
    s.wait(300);
    s.streamInfo();
    const got = s.take('C', 6);
    s.ack(got, 0);
    s.streamInfo();
    s.reset('C', { seq: 1 });
    s.take('C', 6);
    s.info('C');
  },
  'a reset of a push consumer delivers at once'(_, s) {
    s.stream();
    const box = s.listen('out.push.reset');
    s.consumer('C', { deliver_subject: 'out.push.reset', max_ack_pending: 2 });
    s.publish(4);
    s.ack(box, 0);
    s.reset('C', { seq: 1 });
    s.wait(200);
    s.info('C');
  },
  'another deliver subject brings again what was pending'(_, s) {
    s.stream();
    const one = s.listen('out.a1');
    s.consumer('C', { deliver_subject: 'out.a1' });
    s.publish(3);
    s.ack(one, 1);
    s.update('C', { deliver_subject: 'out.a2' });
    s.leave(one);
    s.wait(100);
    s.update('C', { deliver_subject: 'out.a2' });
    s.listen('out.a2');
    s.wait(300);
    s.info('C');
  },
  'an ack meant for a consumer of the same name that is gone'(_, s) {
    s.stream();
    s.publish(4);
    s.consumer('C');
    const old = s.take('C', 4);
    s.delete('C');
    s.ack(old, 0);
    s.ack(old, 1, '-NAK');
    s.consumer('C');
    s.ack(old, 0);
    s.info('C');
    const young = s.take('C', 2);
    s.ack(old, 1);
    s.ack(old, 3);
    s.info('C');
    s.ack(young, 0, '+TERM');
    s.ack(old, 0, '-NAK');
    s.info('C');
  },
  'changes of what is pending take effect'(_, s) {
    s.listen(`$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.${s.name}.>`);
    s.stream();
    s.publish(6);
    s.consumer('C', { ack_wait: 30 * SECOND, max_ack_pending: 5 });
    s.take('C', 3);
    s.update('C', { ack_wait: 300 * MS, max_ack_pending: 5 });
    s.wait(900);
    s.fetch('C', { batch: 3, expires: 500 * MS }, 3, 900);
    s.update('C', { ack_wait: 300 * MS, max_ack_pending: 2 });
    s.take('C', 1);
    s.info('C');
    s.update('C', { ack_wait: 300 * MS, max_ack_pending: 2, max_deliver: 2 });
    s.wait(1_000);
    s.info('C');
    s.take('C', 3);
    s.info('C');
  },
  'backoff and what may not be changed'(_, s) {
    s.stream();
    s.publish(1);
    s.consumer('B', { backoff: [100 * MS, 200 * MS, 300 * MS], max_deliver: 2 });
    s.consumer('B', { backoff: [100 * MS, 200 * MS], max_deliver: 3 });
    s.update('B', { backoff: [100 * MS, 200 * MS, 300 * MS, 400 * MS], max_deliver: 3 });
    s.update('B', { backoff: [400 * MS], max_deliver: 3 });
    s.update('B', { ack_wait: SECOND, max_deliver: 3, deliver_subject: 'out.b' });
    s.update('B', { ack_policy: 'all' });
    s.update('B', { max_waiting: 7 });
    s.update('NONE', {});
    s.update('B', { inactive_threshold: SECOND, description: 'x', metadata: { a: 'b' } });
    s.update('B', { headers_only: true, max_batch: 3, max_expires: SECOND, max_bytes: 100 });
    s.fetch('B', { batch: 4 }, 1, 60);
    s.fetch('B', { batch: 1, max_bytes: 200 }, 1, 60);
    s.fetch('B', { batch: 1, expires: 2 * SECOND }, 1, 60);
    s.take('B', 1);
  },
  'the last message of a filter, while others come'(_, s) {
    s.stream();
    s.publish(3);
    s.publish(3);
    s.consumer('L', { deliver_policy: 'last', filter_subject: `${s.name}.2` });
    s.consumer('M', { deliver_policy: 'last', filter_subjects: [`${s.name}.1`, `${s.name}.2`] });
    s.consumer('P', {
      deliver_policy: 'last_per_subject',
      filter_subjects: [`${s.name}.1`, `${s.name}.2`],
    });
    s.consumer('Q', { deliver_policy: 'last_per_subject', filter_subject: `${s.name}.>` });
    s.consumer('X', { deliver_policy: 'last', filter_subject: `${s.name}.none` });
    s.publish(3);
    for (const name of ['L', 'M', 'P', 'Q', 'X']) {
      s.info(name);
      s.take(name, 9);
      s.info(name);
    }
  },
  'headers only'(script, s) {
    s.stream();
    s.consumer('H', { headers_only: true });
    script.publish(`${s.name}.1`, 'data');
    script.publish(`${s.name}.1`, 'more data', [
      ['A', 'b'],
      ['Nats-Msg-Size', '7'],
    ]);
    script.publish(`${s.name}.1`, '', [['A', 'c']]);
    s.take('H', 3);
    s.fetch('H', { batch: 2, max_bytes: 100, no_wait: true }, 2, 100);
  },
  'no more pending than may be, redeliveries among them'(_, s) {
    s.stream();
    s.publish(6);
    s.consumer('C', { max_ack_pending: 2, ack_wait: 400 * MS });
    const first = s.take('C', 5);
    s.info('C');
    s.fetch('C', { batch: 5, expires: 700 * MS }, 5, 1_300);
    s.ack(first, 0);
    s.fetch('C', { batch: 5, expires: 200 * MS }, 5, 600);
    s.ack(first, 1, '-NAK');
    s.take('C', 1);
    s.info('C');
  },
  'a delayed nak and then a pause'(_, s) {
    s.stream();
    s.publish(2);
    s.consumer('C');
    const got = s.take('C', 1);
    s.ack(got, 0, '-NAK {"delay":200000000}');
    s.pause('C', '2030-01-01T00:00:00Z');
    s.fetch('C', { batch: 2, expires: 600 * MS }, 2, 900);
    s.info('C');
    s.pause('C', '');
    s.fetch('C', { batch: 2, expires: 600 * MS }, 2, 900);
    s.info('C');
  },
  'acks of all, out of order'(_, s) {
    s.stream();
    s.publish(6);
    s.consumer('C', { ack_policy: 'all' });
    const got = s.take('C', 5);
    s.ack(got, 2);
    s.info('C');
    s.ack(got, 1);
    s.ack(got, 0, '-NAK');
    s.info('C');
    s.ack(got, 3, '-NAK');
    const again = s.take('C', 1);
    s.info('C');
    s.ack(again, 0);
    s.info('C');
    s.ack(got, 4, '+TERM');
    s.info('C');
  },
  'every word about a message'(_, s) {
    s.listen(`$JS.EVENT.ADVISORY.CONSUMER.*.${s.name}.>`);
    s.listen(`$JS.EVENT.METRIC.CONSUMER.ACK.${s.name}.>`);
    s.stream();
    s.publish(9);
    s.consumer('C', { sample_freq: '100%' });
    const got = s.take('C', 6);
    s.ack(got, 0, '+NXT');
    s.ack(got, 1, '+NXT 2');
    s.ack(got, 2, '+NXT {"batch":1,"no_wait":true}');
    s.ack(got, 2, '+NXT {"batch":1,"no_wait":true}');
    s.ack(got, 3, '+TERM  a reason  ');
    s.ack(got, 3, '+TERM again');
    s.ack(got, 4, '+WPI');
    s.ack(got, 0, '+WPI');
    s.ack(got, 4, '+WPI and more');
    s.ack(got, 4, '-NAK x');
    s.ack(got, 4, '-NAK 1ms');
    s.ack(got, 4, '-NAKED');
    s.ack(got, 5, '+OK');
    s.ack(got, 4, 'junk');
    s.ack(got, 4, '+NXT{');
    s.wait(100);
    s.info('C');
  },
  'a stream is purged under a consumer'(script, s) {
    s.listen(`$JS.EVENT.ADVISORY.CONSUMER.*.${s.name}.>`);
    s.stream();
    s.publish(9);
    s.consumer('C');
    s.consumer('F', { filter_subjects: [`${s.name}.2`, `${s.name}.8`] });
    s.consumer('I');
    const got = s.take('C', 5);
    s.take('F', 1);
    for (let i = 0; i < 5; i++) s.ack(got, i);
    script.api(`STREAM.PURGE.${s.name}`, { seq: 3 });
    for (const name of ['C', 'F', 'I']) s.info(name);
    script.api(`STREAM.PURGE.${s.name}`, { filter: `${s.name}.4` });
    for (const name of ['C', 'F', 'I']) s.info(name);
    script.api(`STREAM.MSG.DELETE.${s.name}`, { seq: 5 });
    script.api(`STREAM.MSG.DELETE.${s.name}`, { seq: 7 });
    s.wait(100);
    for (const name of ['C', 'F', 'I']) s.info(name);
    script.api(`STREAM.PURGE.${s.name}`, { seq: 8 });
    for (const name of ['C', 'F', 'I']) s.info(name);
    s.take('C', 9);
    script.api(`STREAM.PURGE.${s.name}`);
    for (const name of ['C', 'F', 'I']) s.info(name);
    s.publish(1);
    for (const name of ['C', 'F', 'I']) s.take(name, 2);
    for (const name of ['C', 'F', 'I']) s.info(name);
  },
  'a sealed stream can be read'(script, s) {
    s.stream();
    s.publish(3);
    s.consumer('C');
    script.api(`STREAM.UPDATE.${s.name}`, {
      name: s.name,
      subjects: [`${s.name}.>`],
      storage: 'file',
      sealed: true,
    });
    const got = s.take('C', 2);
    s.ack(got, 0);
    s.consumer('D');
    s.take('D', 5);
    s.delete('C');
    s.consumer('E', { deliver_policy: 'new' });
    s.info('E');
  },
  'no more consumers than may be'(script, s) {
    s.stream({ max_consumers: 2 });
    s.consumer('A');
    s.consumer('B');
    s.consumer('C');
    s.consumer('A', { description: 'same' });
    script.api(`CONSUMER.CREATE.${s.name}`, {
      stream_name: s.name,
      config: { ack_policy: 'none' },
    });
    s.delete('A');
    s.consumer('C');
    s.consumer('A');
  },
  'interest that changes with filters'(_, s) {
    s.stream({ retention: 'interest' });
    s.consumer('A', { filter_subject: `${s.name}.1` });
    s.consumer('B', { filter_subjects: [`${s.name}.1`, `${s.name}.2`] });
    s.publish(3);
    s.streamInfo();
    const got = s.take('A', 1);
    s.ack(got, 0);
    s.streamInfo();
    s.update('B', { filter_subject: `${s.name}.2` });
    s.wait(300);
    s.streamInfo();
    s.info('B');
    s.delete('B');
    s.wait(300);
    s.streamInfo();
  },
  'interest after the last delivery'(_, s) {
    s.stream({ retention: 'interest' });
    s.consumer('A', { ack_wait: 200 * MS, max_deliver: 1 });
    s.publish(2);
    const got = s.take('A', 1);
    s.wait(700);
    s.streamInfo();
    s.info('A');
    s.take('A', 2);
    s.ack(got, 0);
    s.streamInfo();
    s.info('A');
  },
  'filters of a work-queue'(_, s) {
    s.stream({ retention: 'workqueue' });
    s.publish(4);
    s.consumer('A', { filter_subject: `${s.name}.1` });
    s.consumer('B', { filter_subjects: [`${s.name}.2`, `${s.name}.3`] });
    s.update('A', { filter_subject: `${s.name}.2` });
    s.update('A', { filter_subjects: [`${s.name}.1`, `${s.name}.3`] });
    s.update('A', { filter_subjects: [`${s.name}.1`, `${s.name}.4`] });
    s.update('A', {});
    s.consumer('C', { filter_subject: `${s.name}.>` });
    s.consumer('C', {});
    s.consumer('D', { filter_subject: `${s.name}.5`, ack_policy: 'none' });
    s.consumer('D', { filter_subject: `${s.name}.5`, deliver_policy: 'new' });
    s.consumer('D', { filter_subjects: [`${s.name}.5`, `${s.name}.*`] });
    const got = s.take('A', 5);
    s.ack(got, 1);
    s.streamInfo();
    s.info('A');
  },
  'an interest stream and a consumer of all'(_, s) {
    s.stream({ retention: 'interest' });
    s.consumer('A', { ack_policy: 'all' });
    s.consumer('N', { ack_policy: 'none' });
    s.publish(5);
    const got = s.take('A', 4);
    s.take('N', 2);
    s.ack(got, 2);
    s.streamInfo();
    s.take('N', 9);
    s.streamInfo();
    s.ack(got, 3);
    s.streamInfo();
    s.delete('A');
    s.wait(200);
    s.streamInfo();
  },
  'where a consumer begins by time'(_, s) {
    s.stream();
    s.publish(2);
    s.consumer('F', { deliver_policy: 'by_start_time', opt_start_time: '2100-01-01T00:00:00Z' });
    s.consumer('P', { deliver_policy: 'by_start_time', opt_start_time: '2001-01-01T00:00:00Z' });
    s.publish(1, 3);
    s.take('F', 3);
    s.take('P', 3);
    s.info('F');
    s.consumer('Z', { deliver_policy: 'by_start_sequence', opt_start_seq: 50 });
    s.info('Z');
    s.publish(1, 4);
    s.take('Z', 3);
    s.info('Z');
  },
  'a consumer in memory, and one of a stream in memory'(_, s) {
    s.stream({ storage: 'memory' });
    s.publish(3);
    s.consumer('C', { mem_storage: true });
    s.consumer('D');
    const got = s.take('C', 2);
    s.ack(got, 1);
    s.info('C');
    s.take('D', 9);
    s.info('D');
  },
};

/** Each with a name, on a stream of its own. */
export const TIMED_CONSUMERS: readonly { readonly name: string; readonly script: Script }[] =
  Object.entries({ ...CONSUMER_SCRIPTS, ...OUTLET_SCRIPTS }).map(([name, body], i) => {
    const script = new ScriptWriter();
    body(script, new ConsumerSteps(script, `U${i + 10}`));
    return { name, script: script.steps };
  });
