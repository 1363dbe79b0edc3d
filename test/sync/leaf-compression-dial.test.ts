// How compression of a leafnode link is agreed on, with hubs of a few words: also such as no hub should say.

import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { nkeys } from '@nats-io/transport-node';
import { wantsCompression } from '../../sync/leaf/leaf-compression.ts';
import { readInfo } from '../../sync/leaf/leaf-info.ts';
import { S2Reader } from '../../sync/leaf/s2/s2-reader.ts';
import { S2Writer } from '../../sync/leaf/s2/s2-writer.ts';
import { until } from '../support/until.ts';
import { MeddlingLine } from '../support/meddling-line.ts';
import {
  afterwards,
  at,
  connected,
  infoLine,
  logged,
  newLink,
  refusal,
  startHub,
  stub,
  tearDown,
  type Line,
  type Stub,
} from './leaf-link-bench.ts';

const TLS = join(import.meta.dirname, '../fixtures/hub-certificates');
const caFile = `${TLS}/ca.pem`;
const dir = mkdtempSync(join(tmpdir(), 'mangrove-leaf-compression-'));

afterEach(tearDown);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const OFFER = { compression: 's2_best' };
const WELCOME = { connect_info: true, remote_account: 'A', nonce: undefined };

const boundary = { exports: ['>'], imports: [], domain: 'gw7' };

/** One connection of a hub that compresses. */
interface Talk {
  readonly socket: Socket;
  /** What our side has said, decompressed. */
  heard: string;
  /** Says something compressed, as a stream of its own: so does nats-server. */
  readonly say: (text: string) => void;
}

/** Says INFO; `answer` follows our word of how we compress, `hear` each time when more is heard. */
function offering(
  answer: (talk: Talk) => void,
  hear: (talk: Talk) => void = () => undefined,
): Promise<Stub> {
  return stub((socket) => {
    const reader = new S2Reader();
    let clear = '';
    const say = (text: string): void =>
      void socket.write(new S2Writer().encode(Buffer.from(text, 'latin1')));
    const talk: Talk = { socket, heard: '', say };
    socket.write(infoLine(OFFER));
    socket.on('data', (bytes) => {
      if (clear.endsWith('\r\n')) {
        talk.heard += Buffer.concat([...reader.decode(bytes)]).toString('latin1');
        return hear(talk);
      }
      clear += bytes.toString('latin1');
      if (clear.endsWith('\r\n')) answer(talk);
    });
  });
}

/** Says INFO once more, and lets us in. */
const taking = (hear?: (talk: Talk) => void): Promise<Stub> =>
  offering(
    ({ say }) => say(infoLine(OFFER)),
    (talk) => {
      if (talk.heard.includes('PING\r\n') && !talk.heard.includes('PONG'))
        talk.say(`${infoLine(WELCOME)}PING\r\n`);
      hear?.(talk);
    },
  );

describe('what the hub says of it', () => {
  test('decides with what is set here, and with how long the line is', () => {
    const willing = ['accept', 's2_auto', 's2_uncompressed', 's2_fast', 's2_better', 's2_best'];
    const unwilling = ['off', 'not supported', 'zstd', 'S2_BEST', '', 7, true, null, undefined];
    const wants = (wanted: 'auto' | 'on' | 'off', compression: unknown, rttMs: number): boolean =>
      wantsCompression(wanted, readInfo(infoLine({ compression }).slice(5), 'hub'), rttMs);
    for (const compression of willing) {
      const lines = [0, 10, 10.1, 300, 750, 750.1, 5_000];
      const of = (wanted: 'auto' | 'on' | 'off'): boolean[] =>
        lines.map((rttMs) => wants(wanted, compression, rttMs));
      expect(of('auto')).toEqual([false, false, true, true, true, false, false]);
      expect(of('on')).toEqual([true, true, true, true, true, false, false]);
      expect(of('off')).not.toContain(true);
    }
    for (const compression of unwilling)
      for (const wanted of ['on', 'auto', 'off'] as const)
        expect(wants(wanted, compression, 100)).toBe(false);
  });

  test('is not known here: we log in plainly, and say nothing of it', async () => {
    for (const compression of ['zstd', 'off', 'not supported', '', 7]) {
      const hub = await stub((socket) => {
        socket.write(infoLine({ compression }));
        socket.once('data', () => socket.write(infoLine(WELCOME)));
      });
      const link = await connected(newLink({ urls: [hub.url] }));
      expect(link.status().hub?.compression).toBe('off');
      expect(hub.heard()).toMatch(/^CONNECT \{/);
      expect(hub.heard()).not.toContain('INFO');
      await link.stop();
    }
  });

  test('is answered in the clear, and only after its second INFO all that follows is compressed', async () => {
    const talks: Talk[] = [];
    const hub = await offering(
      (talk) => void talks.push(talk),
      ({ say }) => say(infoLine(WELCOME)),
    );
    const link = newLink({ urls: [hub.url] });
    const talk = await until('our word', () => talks[0]);
    expect(hub.heard()).toMatch(/^INFO \{"server_id":"GW7[^"]+","compression":"s2_fast"\}\r\n$/);
    const clear = hub.heard().length;
    talk.say(infoLine(OFFER));
    await connected(link);
    expect(hub.heard().slice(clear)).toSatisfy((said: string) =>
      said.startsWith('\xff\x06\x00\x00S2sTwO'),
    );
    await until('the login', () => talk.heard.includes('PING\r\n'));
    expect(talk.heard).toMatch(/^CONNECT \{.*\}\r\nPING\r\nLS\+ \$LDS\./);
    expect(link.status().hub?.compression).toBe('s2_fast');
    expect(logged('connected to the hub')).toMatchObject([{ compressed: true }]);
  });

  test('may come in any pieces, and with more behind it', async () => {
    const hub = await offering(({ socket }) => {
      const whole = new S2Writer().encode(
        Buffer.from(`${infoLine(OFFER)}${infoLine(WELCOME)}LS+ cmd.a\r\nPING\r\n`),
      );
      const next = (at: number): void => {
        if (at < whole.length)
          socket.write(whole.subarray(at, at + 7), () => setImmediate(next, at + 7));
      };
      next(0);
    });
    const link = await connected(newLink({ urls: [hub.url], boundary }));
    await until('the subject', () => link.status().hub?.wanted === 1);
    expect(hub.sockets).toHaveLength(1);
  });

  test('may come in two pieces, of which the second begins as a complaint would', async () => {
    const lines = `${infoLine({ ...OFFER, cluster: 'x-y' })}${infoLine(WELCOME)}PING\r\n`;
    const whole = new S2Writer().encode(Buffer.from(lines));
    const at = whole.indexOf('-y');
    expect(at).toBeGreaterThan(0);
    const hub = await offering(({ socket }) => {
      socket.write(whole.subarray(0, at), () =>
        setTimeout(() => socket.write(whole.subarray(at)), 30),
      );
    });
    await connected(newLink({ urls: [hub.url], boundary }));
    expect(hub.sockets).toHaveLength(1);
  });

  test('counts with the nonce of its second INFO', async () => {
    const user = nkeys.createUser();
    const path = join(dir, 'gw7.nk');
    writeFileSync(path, Buffer.from(user.getSeed()), { mode: 0o600 });
    const logins: string[] = [];
    const hub = await offering(
      ({ say }) => say(infoLine({ ...OFFER, nonce: 'second' })),
      ({ heard }) => void logins.push(heard),
    );
    newLink({ urls: [hub.url], credentials: { kind: 'nkey', file: path } });
    const login = await until('the login', () => logins[0]);
    const { sig } = JSON.parse(login.slice(8, login.indexOf('\r\n'))) as { sig: string };
    const signed = (nonce: string): boolean =>
      user.verify(Buffer.from(nonce), Buffer.from(sig, 'base64url'));
    expect([signed('second'), signed('n')]).toEqual([true, false]);
  });
});

describe('an answer to how we compress', () => {
  /** What is said of it, at the first attempt; there must be another one. */
  async function attempted(answer: (talk: Talk) => void): Promise<Line> {
    const hub = await offering(answer);
    const link = newLink({ urls: [hub.url], keepAliveMs: 1_000 });
    const line = await refusal();
    await until('another attempt', () => hub.sockets.length > 1);
    await until('the end of the first', () => hub.sockets[0]?.destroyed);
    // Whoever was too late logs in plainly the next time.
    if (!line.error?.includes('came too late')) expect(hub.heard()).not.toContain('CONNECT');
    await link.stop();
    at.lines = [];
    return line;
  }
  const notHub = { kind: 'not a hub' };
  const bytes = (text: string): Buffer => new S2Writer().encode(Buffer.from(text, 'latin1'));

  test('that is none of a hub: what came is said', async () => {
    for (const [text, words] of [
      ['HTTP/1.1 400 Bad Request\r\n\r\n', 'no S2 stream: "HTTP/1.1'],
      [infoLine(OFFER), 'no S2 stream: "INFO'],
      ['\x00\x01\x02\x03\x04', 'no S2 stream'],
      ['\xff\x06\x00\x00gibber', 'a stream that calls itself "gibber"'],
    ] as const) {
      const line = await attempted(({ socket }) => void socket.write(text, 'latin1'));
      expect(line).toMatchObject(notHub);
      expect(line.error).toContain(words);
    }
    const line = await attempted(({ say }) => say('HTTP/1.1 400 Bad Request\r\n'));
    expect(line).toMatchObject(notHub);
    expect(line.error).toContain('unexpected response');
  });

  test('that is damaged behind its begin: nobody waits for the rest', async () => {
    const [whole, begin] = [bytes(infoLine(OFFER)), bytes('INFO {"server_')];
    const flipped = Buffer.from(whole);
    flipped[30] = (flipped[30] as number) ^ 1;
    const more = whole.subarray(10);
    for (const answer of [flipped, Buffer.concat([begin, flipped.subarray(10)])]) {
      const line = await attempted(({ socket }) => void socket.write(answer));
      expect(line.error).toMatch(/whose checksum is wrong|S2|copy|block|literal/i);
      expect(line).toMatchObject(notHub);
    }
    // In two pieces.
    const line = await attempted(({ socket }) => {
      socket.write(
        begin,
        () => void setTimeout(() => socket.write(Buffer.from(more.map((b) => b ^ 9))), 20),
      );
    });
    expect(line).toMatchObject(notHub);
  });

  test('of a few bytes that stand for megabytes is not unpacked to its end', async () => {
    const blocks = [bytes('INFO {"a":"')];
    const block = bytes('a'.repeat(64 * 1024));
    for (let i = 0; i < 100; i++) blocks.push(block);
    // Whoever came so far would complain of this.
    blocks.push(Buffer.from('\x02\x00\x00\x00', 'latin1'));
    const line = await attempted(({ socket }) => void socket.write(Buffer.concat(blocks)));
    expect(line.error).toContain('unexpected response');
  });

  test('by which the hub gives us up, in the clear or not: its words', async () => {
    for (const answer of [
      ({ socket }: Talk): void => void socket.end("-ERR 'Authentication Timeout'\r\n"),
      ({ socket }: Talk): void => {
        socket.write("-ERR 'Authentic", () =>
          setTimeout(() => socket.end("ation Timeout'\r\n"), 30),
        );
      },
      ({ say }: Talk): void => say("-ERR 'Authentication Timeout'\r\n"),
    ]) {
      const line = await attempted(answer);
      expect(line).toMatchObject({ kind: 'network' });
      expect(line.error).toContain('came too late');
      expect(line.hint).toContain('raise timeout in authorization of leafnodes');
    }
  });

  test('that does not come, or is that the hub hangs up', async () => {
    const silent = await attempted(() => undefined);
    expect(silent).toMatchObject({ kind: 'network' });
    expect(silent.error).toContain('no further answer in time');
    expect(silent.hint).not.toContain('handshake_first');
    const gone = await attempted(({ socket }) => void socket.end());
    expect(gone).toMatchObject({ kind: 'network' });
    expect(gone.error).toMatch(/closed the connection$/);
  });

  test('that the hub does not wait for: what it says in the clear could be taken for compressed', async () => {
    const hub = await stub((socket) => socket.write(`${infoLine(OFFER)}PING\r\n`));
    newLink({ urls: [hub.url] });
    expect(await refusal()).toMatchObject(notHub);
    expect(hub.heard()).toBe('');
  });

  test('over TLS that is an end without a word: our certificate may be the reason', async () => {
    const key = readFileSync(`${TLS}/server-key.pem`);
    const cert = readFileSync(`${TLS}/server.pem`);
    const hub = await stub((socket) => {
      socket.removeAllListeners('data');
      socket.write(infoLine({ ...OFFER, tls_required: true }), () => {
        const secure = new TLSSocket(socket, { isServer: true, key, cert });
        secure.on('error', () => undefined);
        secure.once('data', () => socket.resetAndDestroy());
      });
    });
    newLink({ urls: [hub.url], tls: { caFile } });
    const line = await refusal();
    expect(line.hint).toContain('the hub does not accept the certificate of this gateway');
    expect(line.hint).toContain('[leaf.tls]');
  });

  test('of a real hub that has lost its patience: the login came too late', async () => {
    const leafnodes = 'compression: s2_fast\nauthorization { timeout: 0.3 }';
    const hub = await startHub({ leafnodes, jetstream: null });
    const line = await new MeddlingLine(hub.port).listen();
    afterwards(() => line.close());
    line.delayMs = 250;
    newLink({ urls: [line.url] });
    expect((await refusal()).error).toContain('came too late');
  });
});

test('a hub that has no time for it gets a plain login the next time', async () => {
  const leafnodes = 'compression: s2_fast\nauthorization { timeout: 0.7 }';
  const hub = await startHub({ leafnodes, jetstream: null });
  const line = await new MeddlingLine(hub.port).listen();
  afterwards(() => line.close());
  line.delayMs = 225;
  const link = await connected(newLink({ urls: [line.url] }));
  expect((await refusal()).error).toContain('came too late');
  expect(link.status().hub?.compression).toBe('off');
});

describe('a link that stands', () => {
  test('ends where a block is damaged, and comes back', async () => {
    const good = new S2Writer().encode(randomBytes(500));
    good[200] = (good[200] as number) ^ 4;
    let damages = 2;
    const hub = await taking(({ socket, heard }) => {
      if (heard.includes('PONG') && damages-- > 0) socket.write(good);
    });
    const link = newLink({ urls: [hub.url] });
    await until('a third one', () => link.status().counters.connects === 3);
    await connected(link);
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'network' });
    expect(line.error).toContain('comes damaged: a chunk of 500 bytes whose checksum is wrong');
    expect(link.status().problem).toBeNull();
  });

  test('reads by and by what a few bytes stand for: others have their turns', async () => {
    const data = Buffer.alloc(1024 * 1024);
    const lines = [Buffer.from(`LMSG in.a ${data.length}\r\n`), data, Buffer.from('\r\n')];
    const much = new S2Writer().encode(
      Buffer.concat(Array.from({ length: 64 }, () => lines).flat()),
    );
    expect(much.length).toBeLessThan(64 * 1024);
    let isSent = false;
    const hub = await taking(({ socket, heard }) => {
      if (heard.includes('PONG') && !isSent) isSent = socket.write(much) || true;
    });
    const link = newLink({ urls: [hub.url] });
    const seen = new Set<number>();
    const got = (): number => link.status().counters.inMsgs;
    const watch = (): void => {
      seen.add(got());
      if (got() < 64) setImmediate(watch);
    };
    watch();
    await until('all', () => got() === 64);
    expect(seen.size).toBeGreaterThan(20);
  });

  test('ends with its last word at the hub, compressed, where its own mark comes back', async () => {
    const words: string[] = [];
    const hub = await taking((talk) => {
      const [mark] = /\$LDS\.\w+/.exec(talk.heard) ?? [];
      if (talk.heard.includes('PONG\r\n')) talk.say(`LS+ ${mark}\r\n`);
      words.push(talk.heard);
    });
    newLink({ urls: [hub.url] });
    expect(await refusal()).toMatchObject({ kind: 'loop' });
    await until('its last word', () => words.at(-1)?.endsWith("came back to it'\r\n"));
  });

  test('takes what the hub sends after a change of its level, with or without a new stream', async () => {
    const hub = await taking(({ socket, heard, say }) => {
      if (!heard.includes('PONG') || heard.includes('PONG\r\nPONG')) return;
      const writer = new S2Writer();
      for (const line of ['LS+ a\r\n', 'LS+ b\r\n']) socket.write(writer.encode(Buffer.from(line)));
      say('LS+ c\r\n');
      // Snappy's name, an uncompressed block and padding are S2 as well.
      const stream = '\xff\x06\x00\x00sNaPpY\xfe\x03\x00\x00\x00\x00\x00';
      socket.write(Buffer.from(stream, 'latin1'));
      say('LS+ d\r\nPING\r\n');
    });
    const link = await connected(newLink({ urls: [hub.url], boundary }));
    await until('all of it', () => link.status().hub?.wanted === 4);
    expect(link.status().hub?.wantedSubjects?.()).toEqual(['a', 'b', 'c', 'd']);
    expect(hub.sockets).toHaveLength(1);
  });
});
