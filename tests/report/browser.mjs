// A headless Chromium, spoken to through its DevTools protocol over two pipes: no package is needed.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// The program's name, or null where there is none.
export function findChromium() {
  for (const name of ['chromium', 'chromium-browser', 'google-chrome'])
    if (spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0) return name;
  return null;
}

// The answer, or an error where it does not come in time: a browser that hangs must not hang the test.
function inTime(answer, what, seconds = 60) {
  let timer;
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no answer in ${seconds} s`)), 1000 * seconds);
  });
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

export class Browser {
  #next = 0;
  #waiting = new Map();
  #listeners = [];
  #rest = '';

  static async start(program) {
    const browser = new Browser();
    browser.profile = mkdtempSync(join(tmpdir(), 'watersic-report-'));
    browser.process = spawn(program,
      ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--no-first-run',
       '--disable-background-networking', '--remote-debugging-pipe', `--user-data-dir=${browser.profile}`,
       'about:blank'],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    browser.process.stdio[4].setEncoding('utf8').on('data', text => browser.#read(text));
    browser.process.stdio[3].on('error', () => {});  // it ended: what waits is told below
    browser.process.on('exit', () => {
      for (const { reject } of browser.#waiting.values()) reject(new Error('the browser ended'));
    });
    process.on('exit', () => browser.process.kill('SIGKILL'));
    return browser;
  }

  #read(text) {
    const parts = (this.#rest + text).split('\0');
    this.#rest = parts.pop();
    for (const part of parts) {
      const message = JSON.parse(part);
      const waiting = this.#waiting.get(message.id);
      if (waiting) {
        this.#waiting.delete(message.id);
        if (message.error) waiting.reject(new Error(message.error.message));
        else waiting.resolve(message.result);
      } else {
        for (const listener of this.#listeners) listener(message);
      }
    }
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.#next;
    return inTime(new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.process.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + '\0');
    }), method);
  }

  // A page that tells of everything that goes wrong in it, and of everything that it fetches.
  async open(url, { width = 1400, height = 900, dark = false, media = '', scripts = true } = {}) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = { errors: [], requests: [] };
    const send = (method, params) => this.send(method, params, sessionId);
    let loaded;
    const load = new Promise(resolve => { loaded = resolve; });
    const listener = message => {
      if (message.sessionId !== sessionId) return;
      const { method, params } = message;
      if (method === 'Page.loadEventFired') loaded();
      if (method === 'Runtime.exceptionThrown')
        page.errors.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
      if (method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(params.type))
        page.errors.push(params.args.map(a => a.value ?? a.description).join(' '));
      if (method === 'Log.entryAdded') page.errors.push(`${params.entry.level}: ${params.entry.text}`);
      if (method === 'Network.requestWillBeSent') page.requests.push(params.request.url);
    };
    this.#listeners.push(listener);
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await send(`${domain}.enable`);
    if (!scripts) await send('Emulation.setScriptExecutionDisabled', { value: true });
    page.resize = to => send('Emulation.setDeviceMetricsOverride',
      { width: to, height, deviceScaleFactor: 1, mobile: to < 600 });
    page.media = (name, isDark) => send('Emulation.setEmulatedMedia', {
      media: name, features: [{ name: 'prefers-color-scheme', value: isDark ? 'dark' : 'light' }] });
    await page.resize(width);
    await page.media(media, dark);
    await send('Page.navigate', { url });
    await inTime(load, url);
    // Runs in the page; what it returns must be JSON.
    page.run = async (work, ...args) => {
      const { result, exceptionDetails } = await send('Runtime.evaluate', {
        expression: `(${work})(...${JSON.stringify(args)})`, returnByValue: true, awaitPromise: true });
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      return result.value;
    };
    page.move = (x, y) => send('Input.dispatchMouseEvent', { type: 'mouseMoved', x, y });
    page.screenshot = async ({ top = 0, height: most = 100000 } = {}) => {
      const { cssContentSize: all } = await send('Page.getLayoutMetrics');
      const clip = { x: 0, y: top, width: all.width, height: Math.min(most, all.height - top), scale: 1 };
      const { data } = await send('Page.captureScreenshot', { clip, captureBeyondViewport: true });
      return Buffer.from(data, 'base64');
    };
    page.pdf = async () => Buffer.from(
      (await send('Page.printToPDF', { printBackground: true, preferCSSPageSize: true })).data, 'base64');
    page.close = () => {
      this.#listeners = this.#listeners.filter(other => other !== listener);
      return this.send('Target.closeTarget', { targetId });
    };
    return page;
  }

  async close() {
    const ended = new Promise(resolve => this.process.once('exit', resolve));
    this.send('Browser.close').catch(() => {});  // it may end before it answers
    await inTime(ended, 'Browser.close').catch(() => this.process.kill('SIGKILL'));
    // Its helpers write for a moment more.
    for (let attempt = 0; attempt < 20; ++attempt) {
      try {
        return rmSync(this.profile, { recursive: true, force: true });
      } catch {
        await new Promise(resolve => setTimeout(resolve, 100));
      }
    }
  }
}
