// What the demo shows. On a terminal: a list of what happened, and below it a picture of the present that is redrawn in
// place. In a pipe or a file: plain lines, one for each event and one a second, without escape codes.

/** The present, as it is drawn. */
export interface Picture {
  /** Seconds since the sensors began. */
  readonly seconds: number;
  readonly sent: number;
  readonly stored: number;
  readonly atHub: number;
  readonly wan: 'up' | 'silent' | 'refused';
  readonly agent: 'up' | 'down';
}

/** `title` and `good` and `bad` stand out; `agent` is what the agent's own log said. */
export type Tone = 'step' | 'agent' | 'good' | 'bad';

type Out = Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'>;

const SGR = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
/** Below this many columns the picture is one line. */
const WIDE_COLUMNS = 64;
/** Wider ones are not filled: text that wide is hard to read. */
const COLUMNS_MAX = 110;
const INDENT = 10;

export class Screen {
  readonly #out: Out;
  readonly #live: boolean;
  readonly #colour: boolean;
  #drawn = 0;
  #closed = false;
  #saidSecond = -1;

  constructor(out: Out, env: NodeJS.ProcessEnv = process.env) {
    this.#out = out;
    this.#live = out.isTTY && env['TERM'] !== 'dumb';
    this.#colour = this.#live && (env['NO_COLOR'] ?? '') === '';
    if (this.#live) out.write('\x1b[?25l');
  }

  /** A line by itself, before and after the story. */
  say(text = '', ...styles: (keyof typeof SGR)[]): void {
    this.#above(this.#wrap(text, 2).map((line) => this.#style(line, ...styles)));
  }

  /** What a part of the demo is. */
  part(name: string, text: string): void {
    const [first = '', ...rest] = this.#wrap(text, 11);
    this.#above([`  ${this.#style(name.padEnd(9), 'cyan')}${first.trimStart()}`, ...rest]);
  }

  /** Something happened, `seconds` after the sensors began. */
  event(seconds: number, text: string, tone: Tone = 'step'): void {
    if (this.#closed) return;
    const time = `${seconds.toFixed(1).padStart(6)} s  `;
    const styles = {
      step: ['bold'],
      agent: ['dim'],
      good: ['green', 'bold'],
      bad: ['red', 'bold'],
    } as const;
    const [first = '', ...rest] = this.#wrap(text, INDENT);
    const style = (line: string): string => this.#style(line, ...styles[tone]);
    this.#above([
      this.#style(time, 'dim') + style(first.trimStart()),
      ...rest.map((line) => style(line)),
    ]);
  }

  /** Draws the present: at once on a terminal, at most once a second elsewhere. */
  draw(picture: Picture): void {
    if (this.#closed) return;
    if (this.#live) {
      this.#erase();
      const lines = this.#width() < WIDE_COLUMNS ? this.#narrow(picture) : this.#wide(picture);
      this.#out.write(`${lines.join('\n')}\n`);
      this.#drawn = lines.length;
    } else if (Math.floor(picture.seconds) > this.#saidSecond) {
      this.#saidSecond = Math.floor(picture.seconds);
      this.#out.write(`${plain(picture)}\n`);
    }
  }

  /** Takes the picture away for good, and gives the cursor back. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#live) return;
    this.#erase();
    this.#out.write('\x1b[?25h');
  }

  #above(lines: readonly string[]): void {
    this.#erase();
    this.#out.write(`${lines.join('\n')}\n`);
  }

  #erase(): void {
    if (this.#drawn > 0) this.#out.write(`\x1b[${this.#drawn}A\r\x1b[J`);
    this.#drawn = 0;
  }

  #wide(picture: Picture): string[] {
    const { sent, stored, atHub, wan, agent } = picture;
    const link = wan === 'up' ? this.#style('━━━▶', 'green') : this.#style('━╳ ▶', 'red', 'bold');
    const disk = agent === 'up' ? `gateway ${count(stored)} on disk` : 'gateway killed';
    const path = [
      `sensors ${count(sent)} sent`,
      this.#style('━━▶', agent === 'up' ? 'green' : 'red'),
      this.#style(disk, ...(agent === 'up' ? [] : (['red', 'bold'] as const))),
      link,
      `hub ${count(atHub)}`,
    ];
    const waiting = Math.max(0, stored - atHub);
    const room = this.#width() - 30;
    return ['', `  ${path.join('  ')}`, `  ${this.#bar(picture, room)}  ${count(waiting)} waiting`];
  }

  #narrow(picture: Picture): string[] {
    const waiting = count(Math.max(0, picture.stored - picture.atHub));
    const state = picture.agent === 'down' ? ' killed' : picture.wan === 'up' ? '' : ' WAN down';
    const text = ` hub ${count(picture.atHub)}, waits ${waiting}${state}`;
    const room = this.#width() - text.length - 4;
    const bar = room >= 6 ? ` ${this.#bar(picture, room)}` : '';
    return [`${bar}${text}`.slice(0, bar === '' ? this.#width() - 1 : undefined)];
  }

  /** All that is on the gateway's disk: what the hub has of it, and what waits. */
  #bar({ stored, atHub, wan, agent }: Picture, width: number): string {
    const share = stored === 0 ? 1 : Math.min(1, atHub / stored);
    const full = Math.floor(share * width);
    const rest = this.#style(
      '░'.repeat(width - full),
      wan === 'up' && agent === 'up' ? 'yellow' : 'red',
    );
    return this.#style('█'.repeat(full), 'green') + rest;
  }

  #style(text: string, ...styles: (keyof typeof SGR)[]): string {
    if (!this.#colour || styles.length === 0 || text === '') return text;
    return `\x1b[${styles.map((style) => SGR[style]).join(';')}m${text}\x1b[0m`;
  }

  #width(): number {
    return Math.min(COLUMNS_MAX, this.#out.columns || 80);
  }

  /** Cuts at spaces; a file gets whole lines. */
  #wrap(text: string, indent: number): string[] {
    const pad = ' '.repeat(indent);
    if (!this.#live) return [text === '' ? '' : pad + text];
    const lines: string[] = [];
    let line = '';
    for (const word of text.split(' ')) {
      if (line !== '' && indent + line.length + 1 + word.length > this.#width() - 1) {
        lines.push(pad + line);
        line = word;
      } else line = line === '' ? word : `${line} ${word}`;
    }
    return [...lines, line === '' ? '' : pad + line];
  }
}

function plain({ seconds, sent, stored, atHub, wan, agent }: Picture): string {
  const state = [agent === 'down' ? '  agent killed' : '', wan === 'up' ? '' : `  WAN ${wan}`].join(
    '',
  );
  const waiting = Math.max(0, stored - atHub);
  return `${seconds.toFixed(1).padStart(6)} s  sent ${count(sent)}  on disk ${count(stored)}  at the hub ${count(atHub)}  waiting ${count(waiting)}${state}`;
}

/** 12,345 */
export function count(n: number): string {
  return n.toLocaleString('en-US');
}
