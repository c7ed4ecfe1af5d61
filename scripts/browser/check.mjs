// Opens every page below a directory in a headless browser and uses it as a person would.
// Usage: node --test check.mjs   with PAGES (the directory), KINDS (a file that names every kind of chart, one a line)
// and CHROMIUM (the browser's program) in the environment.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const ROOT = resolve(process.env.PAGES);
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const WIDE = { width: 1200, height: 900 };
const NARROW = { width: 400, height: 800 };
// A4 at 96 dots per inch, less a browser's margins.
const PAPER = { width: 718, height: 1046 };

/** Every page below the directory, with the kind of chart it says it holds. */
const PAGES = readdirSync(ROOT, { recursive: true })
  .filter((name) => name.endsWith('.html'))
  .sort()
  .map((name) => {
    const file = join(ROOT, name);
    const text = readFileSync(file, 'utf8');
    const kind = text.match(/<meta name="chart-kind" content="([a-z-]+)"\/>/)?.[1];
    return { name, file, url: pathToFileURL(file).href, kind };
  });
const CHARTS = PAGES.filter((page) => page.kind);
/** One page of each kind of chart, and every page that holds no chart: these are looked at closely. */
const CLOSELY = PAGES.filter((page) => !page.kind || CHARTS.find((other) => other.kind === page.kind) === page);

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox', '--disable-gpu'] });
});
after(() => browser.close());

/** Opens a page and gives it to `use`; whatever it complains about or asks the network for is an error. */
async function open(page, options, use) {
  const context = await browser.newContext({ viewport: WIDE, acceptDownloads: true, ...options });
  const complaints = [];
  try {
    const tab = await context.newPage();
    tab.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) { complaints.push(`console: ${message.text()}`); }
    });
    tab.on('pageerror', (error) => complaints.push(`script: ${error}`));
    tab.on('dialog', (dialog) => { complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    tab.on('request', (request) => {
      const url = request.url();
      if (url !== page.url && !/^(data|blob):/.test(url)) { complaints.push(`request: ${url}`); }
    });
    await tab.goto(page.url);
    await use(tab);
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

/** The values of a chart page as its tables say them: one per panel, with head and rows of text. */
function tables(tab) {
  return tab.$$eval('details.data table', (all) => all.map((table) => ({
    head: [...table.querySelectorAll('th')].map((cell) => cell.textContent),
    rows: [...table.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent)),
  })));
}

/** What the read-out shows: its head, and a value for each name, panel by panel. */
async function readOut(tab) {
  return tab.$eval('.tip', (tip) => ({
    shown: !tip.hidden,
    head: tip.querySelector('b')?.textContent ?? '',
    rows: [...tip.querySelectorAll('.row')].map((row) => [row.querySelector('span').textContent, row.querySelector('em').textContent]),
  }));
}

/** The rows that the read-out should have at an x, from the page's tables; those of a heat map have x across. */
function expected(all, x) {
  const rows = [];
  const add = (name, value) => { if (value !== '–') { rows.push([name, value]); } };
  for (const { head, rows: body } of all) {
    const column = head.indexOf(x);
    const row = body.find((cells) => cells[0] === x);
    if (column > 0) {
      body.forEach((cells) => add(cells[0], cells[column]));
    } else if (row) {
      head.slice(1).forEach((name, i) => add(name, row[i + 1]));
    }
  }
  return rows;
}

/** Where a value of the first panel stands in the window, and the x values of all panels in order. */
function places(tab, layout) {
  return tab.evaluate((name) => {
    const data = JSON.parse(document.getElementById('chart-data').textContent);
    const xs = [...new Set(data.panels.flatMap((panel) => panel.series.flatMap((s) => s.points.map((p) => p[0]))))].sort((a, b) => a - b);
    const svg = document.querySelector(`svg.${name}`);
    const box = svg.getBoundingClientRect();
    const zoom = box.width / svg.viewBox.baseVal.width;
    const frame = data.layouts[name][0];
    const share = (axis, v) => {
      if (axis[3]) { return (axis[3].indexOf(v) + 0.5) / axis[3].length; }
      return axis[2] ? Math.log(v / axis[0]) / Math.log(axis[1] / axis[0]) : (v - axis[0]) / (axis[1] - axis[0]);
    };
    const { decimals, suffix } = { decimals: data.panels[0].x.format[0], suffix: data.panels[0].x.format[1] };
    const text = (v) => v.toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals }) + suffix;
    return {
      title: data.panels[0].x.title,
      points: xs.map((x) => ({
        text: text(x),
        x: box.left + (frame.plot[0] + share(frame.x, x) * frame.plot[2]) * zoom,
        y: box.top + (frame.plot[1] + frame.plot[3] / 2) * zoom,
      })),
    };
  }, layout);
}

/** First, middle and last of a list. */
function some(list) {
  return [...new Set([0, list.length >> 1, list.length - 1])].map((i) => list[i]);
}

/** Pairs as text, which reads well where they differ. */
function plain(rows) {
  return rows.map(([name, value]) => `${name} = ${value}`);
}

test('every kind of chart has a page', () => {
  const kinds = readFileSync(process.env.KINDS, 'utf8').trim().split('\n').sort();
  assert.ok(kinds.length > 10);
  assert.deepEqual([...new Set(CHARTS.map((page) => page.kind))].sort(), kinds);
});

test('every kind of directory has its index', () => {
  const headings = PAGES.filter((page) => basename(page.file) === 'index.html').map((page) => readFileSync(page.file, 'utf8').match(/<h1>([^<]*)<\/h1>/)[1]);
  for (const wanted of ['Cache Rate Performance Test', 'Working Set Performance Test', 'Single Prompt Performance Test', 'Combined Cache Rate Tester Results', 'Combined Test Comparison']) {
    assert.ok(headings.includes(wanted), `${wanted} among ${headings}`);
  }
});

test('every page opens on a narrow dark screen, whole and without a complaint, and its links lead somewhere', async () => {
  for (const page of PAGES) {
    await open(page, { colorScheme: 'dark', viewport: NARROW }, async (tab) => {
      const width = await tab.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= NARROW.width, `${page.name}: ${width} px wide`);
      const hrefs = await tab.$$eval('a[href]', (all) => all.map((a) => a.href));
      const files = new Set(readdirSync(dirname(page.file)).map((name) => pathToFileURL(join(dirname(page.file), name)).href));
      for (const href of hrefs) { assert.ok(files.has(href), `${page.name}: ${href}`); }
    });
  }
});

// Two pages at a time: a page waits for the browser about as long as the browser computes.
describe('closely', { concurrency: 2 }, () => {
  for (const page of CLOSELY) {
    describe(page.name, { concurrency: 1 }, () => {
      test('wide and light, narrow and dark: no complaint, no request, no sideways scrolling, no barrier', async () => {
        const backgrounds = new Set();
        for (const [colorScheme, viewport] of [['light', WIDE], ['dark', NARROW]]) {
          await open(page, { colorScheme, viewport }, async (tab) => {
            backgrounds.add(await tab.evaluate(() => getComputedStyle(document.body).backgroundColor));
            // Everything that can be folded out is looked at too.
            await tab.$$eval('details', (all) => all.forEach((node) => { node.open = true; }));
            const width = await tab.evaluate(() => document.documentElement.scrollWidth);
            assert.ok(width <= viewport.width, `${width} px wide at ${viewport.width} with all details open`);
            // The page's own policy forbids scripts that are not its own; a debugger's evaluation is none.
            await tab.evaluate(AXE);
            const found = await tab.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
            const serious = found.violations.filter((v) => ['serious', 'critical'].includes(v.impact));
            const told = serious.map((v) => `${v.id}: ${v.nodes[0].html.slice(0, 200)} ${v.nodes[0].failureSummary}`);
            assert.deepEqual(told, [], `${colorScheme} ${viewport.width}`);
          });
        }
        assert.equal(backgrounds.size, 2, 'a light and a dark background');
      });

      test('on paper: light, without controls, with whole tables', async () => {
        await open(page, { colorScheme: 'dark', viewport: PAPER }, async (tab) => {
          await tab.emulateMedia({ media: 'print', colorScheme: 'dark' });
          // Nobody can scroll paper.
          const cut = await tab.$$eval('.scroll', (all) => all.filter((node) => node.scrollWidth > node.clientWidth + 1).length);
          assert.equal(cut, 0, 'tables wider than the page');
          assert.equal(await tab.evaluate(() => getComputedStyle(document.body).backgroundColor), 'rgb(255, 255, 255)');
          assert.equal(await tab.locator('.tools:visible, .tip:visible').count(), 0);
        });
      });
    });
  }

  for (const page of CLOSELY.filter(({ kind }) => kind)) {
    describe(`${page.name} (${page.kind})`, { concurrency: 1 }, () => {
      test('says everything without script', async () => {
        await open(page, { javaScriptEnabled: false }, async (tab) => {
          assert.ok(await tab.locator('svg.wide').isVisible());
          assert.equal(await tab.locator('.tools:visible').count(), 0);
          const titles = await tab.locator('svg.wide .panel title').allTextContents();
          assert.ok(titles.length > 0 && titles.every((title) => title.includes(': ')), titles[0]);
          await tab.locator('details.data summary').click();
          assert.ok(await tab.locator('details.data td').first().isVisible());
        });
      });

      test('the read-out under the mouse shows the numbers of the table', async () => {
        await open(page, {}, async (tab) => {
          const all = await tables(tab);
          const { title, points } = await places(tab, 'wide');
          for (const point of some(points)) {
            await tab.mouse.move(point.x, point.y);
            const out = await readOut(tab);
            assert.equal(out.head, `${title}: ${point.text}`);
            assert.ok(out.shown && out.rows.length > 0);
            assert.deepEqual(plain(out.rows), plain(expected(all, point.text)));
          }
          await tab.mouse.move(2, 2);
          assert.equal((await readOut(tab)).shown, false);
        });
      });

      test('the read-out under a finger shows the panel that was touched', async () => {
        await open(page, { viewport: NARROW, hasTouch: true }, async (tab) => {
          const all = await tables(tab);
          const { points } = await places(tab, 'narrow');
          const point = points.at(-1);
          await tab.touchscreen.tap(point.x, point.y);
          const out = await readOut(tab);
          assert.deepEqual(plain(out.rows), plain(expected(all.slice(0, 1), point.text)));
          const tip = await tab.locator('.tip').boundingBox();
          assert.ok(tip.x >= 0 && tip.x + tip.width <= NARROW.width, 'within the window');
        });
      });

      test('arrow keys walk through all values and Escape ends', async () => {
        await open(page, {}, async (tab) => {
          const { points } = await places(tab, 'wide');
          await tab.locator('svg.wide').focus();
          for (const point of points.slice(0, 3)) {
            await tab.keyboard.press('ArrowRight');
            assert.ok((await readOut(tab)).head.endsWith(`: ${point.text}`));
          }
          await tab.keyboard.press('End');
          assert.ok((await readOut(tab)).head.endsWith(`: ${points.at(-1).text}`));
          const spoken = await tab.locator('.sr[aria-live]').textContent();
          assert.ok(spoken.includes(points.at(-1).text), spoken);
          await tab.keyboard.press('Escape');
          assert.equal((await readOut(tab)).shown, false);
        });
      });

      test('a legend entry hides its series, with mouse and keyboard', async () => {
        await open(page, {}, async (tab) => {
          const entries = tab.locator('svg.wide .key');
          if (page.kind === 'ttft-heatmap') { assert.equal(await entries.count(), 0); return; }
          assert.ok(await entries.count() > 0);
          const entry = entries.first();
          const key = await entry.getAttribute('data-key');
          const series = tab.locator(`svg.wide .series[data-key="${key}"]`);
          const seen = () => series.evaluateAll((all) => all.every((node) => getComputedStyle(node).display !== 'none'));
          const name = (await entry.textContent()).trim();
          const has = async () => {
            await tab.locator('svg.wide').focus();
            await tab.keyboard.press('End');
            return (await readOut(tab)).rows.some(([row]) => row === name);
          };
          assert.ok(await series.count() > 0 && await seen());
          await entry.click();
          assert.equal(await seen(), false);
          assert.equal(await entry.getAttribute('aria-pressed'), 'false');
          assert.equal(await has(), false);
          await entry.focus();
          await tab.keyboard.press('Enter');
          assert.ok(await seen());
          assert.equal(await entry.getAttribute('aria-pressed'), 'true');
        });
      });

      test('the picture can be saved as SVG and as PNG', async () => {
        await open(page, { colorScheme: 'dark' }, async (tab) => {
          const size = await tab.$eval('svg.wide', (svg) => [svg.viewBox.baseVal.width, svg.viewBox.baseVal.height]);
          const save = async (button) => {
            const [download] = await Promise.all([tab.waitForEvent('download'), tab.locator(button).click()]);
            return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
          };
          const svg = await save('#save-svg');
          assert.equal(svg.name, basename(page.file, '.html') + '.svg');
          const root = await tab.evaluate((text) => {
            const doc = new DOMParser().parseFromString(text, 'image/svg+xml');
            return doc.querySelector('parsererror') ? 'broken' : `${doc.documentElement.localName} ${doc.querySelectorAll('text').length > 5}`;
          }, svg.bytes.toString('utf8'));
          assert.equal(root, 'svg true');
          const png = await save('#save-png');
          assert.equal(png.name, basename(page.file, '.html') + '.png');
          assert.equal(png.bytes.subarray(1, 4).toString('latin1'), 'PNG');
          assert.deepEqual([png.bytes.readUInt32BE(16), png.bytes.readUInt32BE(20)], size.map((n) => Math.round(n) * 2));
        });
      });
    });
  }
});

test('the read-out agrees with the file the chart was drawn from', async () => {
  const page = CHARTS.find((p) => relative(ROOT, p.file) === join('ramp', 'performance_vs_cache_rate_1000.html'));
  const dir = dirname(page.file);
  const file = readdirSync(dir).filter((name) => /^summary_\d{8}_\d{6}\.csv$/.test(name)).sort().at(-1);
  const [head, ...lines] = readFileSync(join(dir, file), 'utf8').trim().split('\n').map((line) => line.split(','));
  const cell = (line, name) => line[head.indexOf(name)];
  const rows = lines.filter((line) => cell(line, 'context_size') === '1000');
  assert.equal(rows.length, 3);
  await open(page, {}, async (tab) => {
    const { points } = await places(tab, 'wide');
    for (const line of rows) {
      const point = points.find((p) => p.text === `${cell(line, 'cache_hit_rate')}%`);
      await tab.mouse.move(point.x, point.y);
      const out = await readOut(tab);
      // On a busy machine a point may be marked; the figure is the same.
      const shown = out.rows.find(([name]) => name === 'Avg Output Tokens/Req')[1].replace(/ \(limited by the client\)$/, '');
      // The last digit may be rounded either way where it is a tie.
      const meant = Number(cell(line, 'avg_output_tokens'));
      assert.ok(Math.abs(Number(shown.replace(/,| tok\/s/g, '')) - meant) <= 0.051, `${shown} for ${meant}`);
    }
  });
});
