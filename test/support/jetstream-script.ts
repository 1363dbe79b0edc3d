// What is said to a JetStream server in a differential test, as data: a script can be run against any server, printed, and
// cut down to the steps that matter. `{7}` in a subject stands for the consumer name that step 7 was answered with.

export type Header = readonly [string, string];

export type Action =
  /** A request to `$JS.API.<subject>`, answered by one message. */
  | {
      readonly do: 'api';
      readonly subject: string;
      readonly body?: unknown;
      readonly headers?: readonly Header[];
    }
  /** A publish with a reply; `silent`: nobody answers, so nobody waits. */
  | {
      readonly do: 'publish';
      readonly subject: string;
      readonly headers?: readonly Header[];
      readonly data?: string;
      readonly silent?: boolean;
    }
  /** A publish without a reply. */
  | {
      readonly do: 'send';
      readonly subject: string;
      readonly headers?: readonly Header[];
      readonly data?: string;
    }
  /** A request answered by messages and a status: `$JS.API.<subject>`. Waits for `messages`, a final status, or `ms`. */
  | {
      readonly do: 'fetch';
      readonly subject: string;
      readonly body?: unknown;
      readonly messages: number;
      readonly ms: number;
      readonly headers?: readonly Header[];
    }
  /** Answers the `index`-th message (modulo what there is) of those that came to step `of`. */
  | {
      readonly do: 'ack';
      readonly of: number;
      readonly index: number;
      readonly data: string;
      readonly sync: boolean;
    }
  | { readonly do: 'subscribe'; readonly subject: string; readonly queue?: string }
  | { readonly do: 'unsubscribe'; readonly of: number }
  | { readonly do: 'wait'; readonly ms: number };

/** `id` stays with a step when others are taken out. */
export type Step = Action & { readonly id: number };

export type Script = readonly Step[];

/** One line for a report. */
export function describe(step: Step): string {
  const { id, ...action } = step;
  return `${id}: ${JSON.stringify(action).replaceAll(/(.)\1{40,}/g, (run, each: string) => `${each}…(${run.length})`)}`;
}

/** Gives steps their numbers. */
export class ScriptWriter {
  readonly steps: Step[] = [];

  add(action: Action): number {
    const id = this.steps.length + 1;
    this.steps.push({ ...action, id });
    return id;
  }

  api(subject: string, body?: unknown, headers?: readonly Header[]): number {
    return this.add({
      do: 'api',
      subject,
      ...(body === undefined ? {} : { body }),
      ...(headers === undefined ? {} : { headers }),
    });
  }

  publish(subject: string, data = '', headers?: readonly Header[], silent = false): number {
    return this.add({
      do: 'publish',
      subject,
      data,
      ...(headers === undefined ? {} : { headers }),
      ...(silent ? { silent } : {}),
    });
  }
}
