// How pull requests and listeners are served over time, as scripts for the differential test.

import { MS, SECOND, type StepsBody } from './jetstream-consumer-steps.ts';

export const OUTLET_SCRIPTS: Readonly<Record<string, StepsBody>> = {
  'the bytes of a request'(script, s) {
    s.stream();
    s.consumer('C');
    // Subject 5, ack reply 35 or so: what counts is looked at from both sides.
    for (let i = 0; i < 8; i++) script.publish(`${s.name}.1`, 'x'.repeat(20));
    for (const bytes of [60, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 140, 150, 160]) {
      s.fetch('C', { batch: 3, max_bytes: bytes, no_wait: true }, 3, 100);
      s.reset('C', { seq: 1 });
    }
    s.fetch('C', { batch: 3, max_bytes: 200, expires: 200 * MS }, 3, 500);
  },
  'requests take turns'(_, s) {
    s.stream();
    s.consumer('C');
    s.fetch('C', { batch: 3, expires: 5 * SECOND }, 3, 60);
    s.fetch('C', { batch: 2, expires: 5 * SECOND }, 2, 60);
    s.fetch('C', { batch: 1, expires: 300 * MS, idle_heartbeat: 100 * MS }, 1, 60);
    s.info('C');
    s.publish(5);
    s.info('C');
    s.wait(500);
    s.publish(2, 6);
    s.info('C');
  },
  'a request whose client is gone'(_, s) {
    s.stream();
    s.consumer('C');
    const gone = s.fetch('C', { batch: 3, expires: 5 * SECOND }, 3, 60);
    s.leave(gone);
    s.publish(1);
    s.info('C');
    const other = s.fetch('C', { batch: 3 }, 1, 100);
    s.fetch('C', { batch: 3, expires: 500 * MS }, 3, 60);
    s.leave(other);
    s.publish(3, 2);
    s.info('C');
    s.take('C', 3);
    s.info('C');
  },
  'a request that waits, or not'(_, s) {
    s.stream();
    s.consumer('C', { max_waiting: 2 });
    s.fetch('C', { batch: 2, no_wait: true, expires: 400 * MS }, 2, 800);
    s.fetch('C', { batch: 2, no_wait: true, expires: SECOND }, 2, 60);
    s.publish(1);
    s.fetch('C', { batch: 1, expires: 5 * SECOND }, 1, 60);
    s.fetch('C', { batch: 2, expires: 5 * SECOND }, 1, 60);
    s.fetch('C', { batch: 1, expires: 5 * SECOND }, 1, 60);
    s.fetch('C', { batch: 1, expires: 5 * SECOND, idle_heartbeat: SECOND }, 1, 60);
    s.fetch('C', { batch: 1, no_wait: true }, 1, 60);
    s.publish(2, 2);
    s.fetch('C', { batch: 1, no_wait: true }, 1, 60);
    s.publish(2, 4);
    s.fetch('C', { batch: 2, no_wait: true }, 2, 60);
    s.info('C');
  },
  'a group whose members come and go'(_, s) {
    s.stream();
    s.consumer('C', { deliver_subject: 'out.g', deliver_group: 'crew' });
    s.listen('out.g');
    s.publish(1);
    s.info('C');
    const member = s.listen('out.g', 'crew');
    s.wait(300);
    s.ack(member, 0);
    s.leave(member);
    s.publish(2, 2);
    s.wait(100);
    s.info('C');
    s.listen('out.g', 'crew');
    s.wait(300);
    s.info('C');
  },
  'a client that does not answer flow control'(script, s) {
    s.stream();
    s.listen('out.fc');
    s.consumer('C', {
      deliver_subject: 'out.fc',
      ack_policy: 'none',
      flow_control: true,
      idle_heartbeat: 5 * SECOND,
    });
    for (let i = 0; i < 8; i++) script.publish(`${s.name}.1`, 'x'.repeat(800_000));
    s.wait(300);
    s.info('C');
  },
  'groups with a pin'(_, s) {
    s.listen(`$JS.EVENT.ADVISORY.CONSUMER.*.${s.name}.>`);
    s.stream();
    s.consumer('C', {
      priority_policy: 'pinned_client',
      priority_groups: ['g'],
      priority_timeout: 600 * MS,
    });
    s.fetch('C', { batch: 2, expires: 300 * MS }, 2, 60);
    s.fetch('C', { batch: 2, expires: 300 * MS, group: 'h' }, 2, 60);
    s.fetch('C', { batch: 5, expires: 3 * SECOND, group: 'g' }, 5, 60);
    s.fetch('C', { batch: 5, expires: 3 * SECOND, group: 'g' }, 5, 60);
    s.publish(3);
    s.fetch('C', { batch: 1, expires: SECOND, group: 'g', id: 'nobody' }, 1, 60);
    s.fetch('C', { batch: 1, expires: SECOND, group: 'g', min_pending: 4 }, 1, 60);
    s.info('C');
    s.wait(1_200);
    s.info('C');
    s.publish(1, 4);
    s.info('C');
  },
  'groups that overflow'(_, s) {
    s.stream();
    s.consumer('C', { priority_policy: 'overflow', priority_groups: ['g'] });
    s.publish(3);
    s.fetch('C', { batch: 2, expires: 2 * SECOND, group: 'g', min_pending: 3 }, 2, 100);
    s.info('C');
    s.fetch('C', { batch: 1, expires: 2 * SECOND, group: 'g', min_ack_pending: 1 }, 1, 100);
    s.fetch('C', { batch: 1, expires: 2 * SECOND, group: 'g', min_ack_pending: 1 }, 1, 100);
    s.publish(2, 4);
    s.info('C');
  },
};
