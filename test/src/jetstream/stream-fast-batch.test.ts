// Fast batches over a real store: what their publisher is told, and when.

import { expect, test } from 'vitest';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';

const OP = { start: 0, append: 1, commit: 2, end: 3 } as const;

/** A publisher of the batch `b`, and all that it hears: on its inbox, and by receipts. */
class Publisher {
  readonly heard: string[] = [];
  readonly #store: GatewayStore;

  constructor(store: GatewayStore) {
    this.#store = store;
    store.broker.subscribe('in.>', {
      deliver: ({ data }) => void this.heard.push(data.toString()),
    });
  }

  send(n: number, op: keyof typeof OP, data = 'x', headers?: string): void {
    const reply = `in.b.2.fail.${n}.${OP[op]}.$FI`;
    const block =
      headers === undefined ? {} : { headers: Buffer.from(`NATS/1.0\r\n${headers}\r\n\r\n`) };
    this.#store.broker.publish(
      { subject: 'data.a', reply, data: Buffer.from(data), ...block },
      (error, ack, quiet) => {
        if (quiet !== true) this.heard.push(error?.message ?? `end ${ack?.count} at ${ack?.seq}`);
      },
    );
  }

  take(): string[] {
    return this.heard.splice(0).map((text) => text.replaceAll('"', ''));
  }
}

test('the flow of a fast batch is what the disk has', async () => {
  await using store = await new GatewayStore([streamOrder({ allowBatched: true })]).open();
  const publisher = new Publisher(store);
  for (let n = 1; n <= 5; n++) publisher.send(n, n === 1 ? 'start' : 'append');
  store.clock.turn();
  expect(publisher.take(), 'committed is not durable').toEqual(['{type:ack,seq:0,msgs:2}']);
  store.settle();
  expect(publisher.take()).toEqual(['{type:ack,seq:2,msgs:2}', '{type:ack,seq:4,msgs:2}']);
  publisher.send(6, 'commit');
  store.clock.turn();
  expect(publisher.take()).toEqual([]);
  store.settle();
  expect(publisher.take()).toEqual(['end 6 at 6']);
  expect(store.stream.state()).toMatchObject({ messages: 6, lastSeq: 6 });
});

test('a duplicate waits for its original, and an error for what it says of the stream', async () => {
  await using store = await new GatewayStore([streamOrder({ allowBatched: true })]).open();
  const publisher = new Publisher(store);
  publisher.send(1, 'start', 'x', 'Nats-Msg-Id: 1');
  publisher.send(2, 'append', 'x', 'Nats-Msg-Id: 1');
  publisher.send(3, 'append', 'x', 'Nats-Expected-Last-Sequence: 9');
  publisher.send(4, 'append');
  store.clock.turn();
  expect(publisher.take()).toEqual(['{type:ack,seq:0,msgs:2}']);
  store.settle();
  expect(publisher.take()).toEqual([
    '{type:err,seq:3,error:{code:400,err_code:10071,description:wrong last sequence: 1}}',
    'end 2 at 1',
  ]);
  expect(store.stream.state()).toMatchObject({ messages: 1, lastSeq: 1 });
});

test('a full disk ends a fast batch, and what is stored of it is a beginning', async () => {
  const order = streamOrder({ allowBatched: true, maxBytes: 1 << 30 });
  await using store = await new GatewayStore([order]).open();
  const publisher = new Publisher(store);
  publisher.send(1, 'start');
  publisher.send(2, 'append');
  store.settle();
  publisher.take();
  store.disk!.roomNow = { availableBytes: 0, totalBytes: 1 << 30 };
  store.jetstream.store.refreshRoom();
  const large = 'x'.repeat(400_000);
  for (const n of [3, 4]) publisher.send(n, 'append', large);
  store.settle();
  const heard = publisher.take();
  expect(heard.at(0)).toContain('type:err,seq:3');
  expect(heard.at(-1)).toBe('end 2 at 2');
  store.disk!.roomNow = undefined;
  store.jetstream.store.refreshRoom();
  store.clock.advance(2_000);
  store.settle();
  publisher.send(5, 'append');
  store.settle();
  expect(publisher.take()).toEqual(['batch publish ID unknown']);
  expect(store.stream.state()).toMatchObject({ messages: 2, lastSeq: 2 });
});

test('a stream that takes no fast batches any more forgets those that are open', async () => {
  await using store = await new GatewayStore([streamOrder({ allowBatched: true })]).open();
  const publisher = new Publisher(store);
  publisher.send(1, 'start');
  store.settle();
  publisher.take();
  const { stream } = store;
  stream.reconfigure({ ...stream.config, allowBatched: false }, null);
  stream.reconfigure({ ...stream.config, allowBatched: true }, null);
  publisher.send(2, 'append');
  expect(publisher.take()).toEqual(['batch publish ID unknown']);
});
