// The report as a browser shows it: every sample at three widths, light and dark, on paper, and without
// scripts. Needs Chromium and Node; where one is missing the test is skipped (exit code 77).
//
//   node tests/report/report_test.mjs WATERSIC [FOLDER]    FOLDER: keep pages and screenshots there
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { Browser, findChromium } from './browser.mjs';
import * as check from './check.mjs';
import { evil, studies } from './samples.mjs';

const [watersic, kept] = process.argv.slice(2);
const chromium = findChromium();
if (!chromium) {
  console.log('report_test: skipped, there is no Chromium; apt-get install chromium');
  process.exit(77);
}
const folder = kept ? resolve(kept) : mkdtempSync(join(tmpdir(), 'watersic-pages-'));
mkdirSync(folder, { recursive: true });

// The whole test has an end, too, whatever happens.
const minutes = 10;
setTimeout(() => {
  console.log(`report_test: failed, not done in ${minutes} minutes`);
  process.exit(1);
}, 60000 * minutes).unref();

let passed = 0;
const failures = [];
const expect = (what, wrong) => {
  if (wrong.length === 0) ++passed;
  for (const line of wrong.slice(0, 8)) failures.push(`${what}: ${line}`);
};
const nothingFetched = (page, url) => page.requests.filter(request => request !== url);

const browser = await Browser.start(chromium);
for (const [name, records] of Object.entries(studies())) {
  const files = records.map((record, i) => {
    const file = join(folder, `${name}-${i}.json`);
    writeFileSync(file, JSON.stringify(record));
    return file;
  });
  const html = join(folder, `${name}.html`);
  const made = spawnSync(watersic, ['report', ...files, '-o', html], { encoding: 'utf8' });
  expect(`${name}: made`, made.status === 0 ? [] : [made.stderr || String(made.error)]);
  if (made.status !== 0) continue;
  const url = pathToFileURL(html).href;

  for (const width of [390, 820, 1400]) {
    for (const dark of width === 390 ? [false, true] : [false]) {
      const what = `${name}, ${width} ${dark ? 'dark' : 'light'}`;
      const page = await browser.open(url, { width, dark });
      for (const [part, work] of [['charts', check.charts], ['overflow', check.overflow], ['contrast', check.contrast]])
        expect(`${what}: ${part}`, await page.run(work));
      if (kept) writeFileSync(join(folder, `${name}-${width}-${dark ? 'dark' : 'light'}.png`), await page.screenshot());
      if (!dark && name !== 'large') {
        expect(`${what}: picking`, await page.run(check.picking));
        expect(`${what}: charts of the last run`, await page.run(check.charts));
        expect(`${what}: overflow of the last run`, await page.run(check.overflow));
        expect(`${what}: sorting`, await page.run(check.sorting));
      }
      const mark = await page.run(() => {
        const thing = document.querySelector('main [data-tip]');
        if (!thing) return null;
        thing.scrollIntoView({ block: 'center', behavior: 'instant' });
        const box = thing.getBoundingClientRect();
        return { x: box.left + box.width / 2, y: box.top + box.height / 2, tip: thing.dataset.tip };
      });
      if (mark) {
        await new Promise(done => setTimeout(done, 50));
        await page.move(mark.x, mark.y);
        expect(`${what}: tooltip`, await page.run(expected => {
          const tip = document.getElementById('tip'), box = tip.getBoundingClientRect();
          if (tip.hidden) return ['none shown'];
          const fits = box.left >= 0 && box.right <= innerWidth && box.top >= 0 && box.bottom <= innerHeight;
          return [...(fits ? [] : [`at ${box.left} ${box.top}, ${box.width} x ${box.height}`]),
            ...(tip.textContent === expected.replace('\n', '') ? [] : [`says ${tip.textContent}`])];
        }, mark.tip));
      }
      expect(`${what}: no errors`, page.errors);
      expect(`${what}: nothing fetched`, nothingFetched(page, url));
      await page.close();
    }
  }

  const paper = await browser.open(url, { width: 694, dark: true, media: 'print' });
  expect(`${name}, paper: charts`, await paper.run(check.charts));
  expect(`${name}, paper: light, without controls`, await paper.run(() => {
    const wrong = [];
    if (getComputedStyle(document.body).backgroundColor !== 'rgb(255, 255, 255)') wrong.push('dark');
    for (const control of document.querySelectorAll('nav, .picker'))
      if (getComputedStyle(control).display !== 'none') wrong.push(`${control.tagName} is printed`);
    return wrong;
  }));
  const pdf = await paper.pdf();
  if (kept) writeFileSync(join(folder, `${name}.pdf`), pdf);
  const sheets = pdf.toString('latin1').match(/\/Type\s*\/Page\b/g)?.length ?? 0;
  expect(`${name}, paper: sheets`, sheets >= 1 && sheets <= 60 ? [] : [`${sheets}`]);
  await paper.close();

  const plain = await browser.open(url, { scripts: false });
  expect(`${name}, without scripts: everything is shown`, await plain.run(() => {
    const runs = [...document.querySelectorAll('.run')];
    const hidden = runs.filter(run => run.getBoundingClientRect().height === 0).length;
    const dead = [...document.querySelectorAll('button')].filter(b => b.getBoundingClientRect().height > 0).length;
    return [...(hidden ? [`${hidden} runs are hidden`] : []), ...(dead ? [`${dead} buttons do nothing`] : [])];
  }));
  expect(`${name}, without scripts: charts`, await plain.run(check.charts));
  await plain.close();

  if (name === 'hostile') {
    const page = await browser.open(url);
    expect('hostile: nothing of it ran or became markup', await page.run(text => [
      ...(window.hacked === undefined ? [] : ['it ran']),
      ...(document.querySelector('img') ? ['an image'] : []),
      ...(document.querySelectorAll('script').length === 1 ? [] : ['a script']),
      ...(document.querySelector('main').textContent.includes(text) ? [] : ['the text is changed'])], evil));
    await page.close();
  }
}
await browser.close();
if (!kept) rmSync(folder, { recursive: true, force: true });
for (const failure of failures) console.log(failure);
console.log(`report_test: ${passed} passed, ${failures.length} failed`);
process.exit(failures.length === 0 ? 0 : 1);
