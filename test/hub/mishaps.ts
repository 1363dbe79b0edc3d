// What goes wrong at a hub until somebody mends it: played on a rig, with everything that must hold meanwhile and
// afterwards.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { expect } from 'vitest';
import { health, varz } from '../../src/status.ts';
import type { TestAgent } from '../support/agent.ts';
import type { LogLine } from '../support/agent-process.ts';
import type { AuditOptions } from '../support/audit.ts';
import { until } from '../support/until.ts';
import type { Rig } from './rig.ts';
import { burst } from './traffic.ts';

export const MISCONFIGURED = 'the hub cannot be forwarded to as it is';
export const FAILED = 'a publish to the hub failed';
export const NO_CONNECTION = 'no connection to the hub';

/** Resolves with the first line that tells the operator `text`, and a hint that matches. */
export function told(agent: TestAgent, text: string, hint: RegExp): Promise<LogLine> {
  return until(`"${text}" with ${String(hint)}`, () =>
    agent.said(text).find((line) => hint.test(line.hint ?? '')),
  ).catch((error: unknown) => {
    const lines = agent.log.filter(({ level }) => level >= 40);
    throw new Error(`${String(error)}; it said ${JSON.stringify(lines.slice(-5))}`);
  });
}

export interface Mishap {
  readonly wrong: (rig: Rig) => Promise<unknown> | void;
  /** The message that the operator gets, with a remedy that matches. */
  readonly says: string;
  readonly remedy: RegExp;
  /** What /varz shows of it; default: the remedy. */
  readonly shown?: RegExp;
  /** It passes by itself, or may: /healthz does not tell of it at once. */
  readonly passing?: boolean;
  readonly mend: (rig: Rig) => Promise<unknown> | void;
  readonly audit?: AuditOptions;
}

/** Messages before, during and after. */
const MESSAGES = 30;

/**
 * Something goes wrong while a gateway forwards. It goes on storing; the log and /varz say what to do; when that is done
 * it forwards again, without a restart; each message is then at the hub once and in order, and all is well.
 */
export async function suffer(rig: Rig, mishap: Mishap): Promise<void> {
  const { wrong, says, remedy, shown = remedy, passing = false, mend, audit } = mishap;
  await burst(rig.agent, rig.ledger, MESSAGES);
  await rig.agent.drained();
  await wrong(rig);
  await burst(rig.agent, rig.ledger, MESSAGES);
  await told(rig.agent, says, remedy);
  await until(`${String(shown)} in /varz`, () => shown.test(shownBy(rig.agent))).catch(
    (error: unknown) => expect.unreachable(`${String(error)}: ${shownBy(rig.agent)}`),
  );
  if (!passing) expect(rig.agent.status().problem).toMatch(remedy);
  // What comes now is stored as ever, and waits.
  await burst(rig.agent, rig.ledger, MESSAGES);
  expect(rig.agent.status().pending).toBeGreaterThan(0);
  expect(rig.agent.status().rejected).toBe(0);
  await mend(rig);
  expect(await rig.audit(audit)).toEqual([]);
  expect(rig.agent.status().problem).toBeNull();
  expect(health(rig.agent.agent.parts)).toMatchObject({ ok: true });
}

interface HubSection {
  readonly detail: string;
  readonly forwards: readonly { readonly problem: string | null; readonly detail: string }[];
}

/** What /varz shows of the forwarder and the link: what passes by itself is no problem yet, but a detail. */
function shownBy(agent: TestAgent): string {
  const {
    forwards: [forward],
    ...link
  } = varz(agent.agent.parts).sections.hub as HubSection;
  return [forward?.problem, forward?.detail, link.detail].join(' ');
}

/** The users of a test's hub, in a file that can be rewritten between two starts of it. */
export class Accounts {
  readonly path = mkdtempSync(join(tmpdir(), 'mangrove-accounts-'));
  readonly passwordFile = join(this.path, 'password');
  /** What the hub's configuration needs. nats-server looks from its own directory, which is beside this one. */
  readonly config = `include "../${basename(this.path)}/accounts.conf"`;
  /** What `[hub]` needs. */
  readonly login = `user = "gw"\npassword_file = "${this.passwordFile}"`;
  static readonly admin = { user: 'admin', pass: 'admin' };

  constructor() {
    this.password('right');
    this.write();
  }

  /** `jetstream` is what the account has of it: a block of limits, enabled or disabled. */
  write({ jetstream = 'enabled', deny = '', denySubscribe = '' } = {}): void {
    const denied = [
      ...(deny === '' ? [] : [`publish: { deny: ["${deny}"] }`]),
      ...(denySubscribe === '' ? [] : [`subscribe: { deny: ["${denySubscribe}"] }`]),
    ];
    const permissions = denied.length === 0 ? '' : `, permissions: { ${denied.join(', ')} }`;
    writeFileSync(
      join(this.path, 'accounts.conf'),
      `accounts {
  GW {
    jetstream: ${jetstream}
    users: [{ user: gw, password: right${permissions} }, { user: admin, password: admin }]
  }
  SYS { users: [{ user: sys, password: sys }] }
}
system_account: SYS
`,
    );
  }

  password(text: string): void {
    writeFileSync(this.passwordFile, `${text}\n`, { mode: 0o600 });
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Starts the hub anew after `change`. */
export async function restartHub(rig: Rig, change: () => void): Promise<void> {
  await rig.hub.stop();
  change();
  // A stream that the change has made unusable is what some tests want.
  await rig.hub.restart('server');
}
