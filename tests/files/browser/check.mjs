// node check.mjs CHECK PAGE…: opens pages in headless Chromium and asserts how they behave.
// CKPT_REGEN_PLAYWRIGHT: a folder with node_modules/playwright-core; CHROMIUM: the browser.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(join(resolve(process.env.CKPT_REGEN_PLAYWRIGHT), 'x.js'));
const { chromium } = require('playwright-core');
const [check, ...files] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

const DESK = { viewport: { width: 1180, height: 900 }, colorScheme: 'light' };
const DARK = { ...DESK, colorScheme: 'dark' };
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

// Opens a file; afterwards nothing may have gone wrong or been loaded.
async function open(file, options, use) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const wrong = [];
  const own = pathToFileURL(file).href;
  page.on('console', message => wrong.push(`console: ${message.text()}`));
  page.on('pageerror', error => wrong.push(`error: ${error.message}`));
  page.on('dialog', dialog => { wrong.push('a dialog'); dialog.dismiss(); });
  page.on('request', request => {
    if (request.url() !== own && request.url() !== 'data:,') wrong.push(`request: ${request.url()}`);
  });
  await page.goto(own);
  await use(page, await page.evaluate(() => JSON.parse(document.getElementById('data').textContent)));
  assert.deepEqual(wrong, []);
  await context.close();
}

const minus = number => String(number).replace('-', '−');
const column = (page, index) => page.$$eval('table.sort tbody tr:not([hidden])',
  (rows, index) => rows.map(row => row.cells[index].textContent), index);
const order = page => page.$$eval('table.sort tbody tr', rows => rows.map(row => Number(row.dataset.i)));
const head = (page, name) => page.locator('table.sort thead th', { has: page.locator(`button:text-is("${name}")`) });
const fits = page => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);

// A tip goes when the page scrolls: let scrolling end first.
const settle = page => page.evaluate(() => new Promise(done => setTimeout(() => requestAnimationFrame(() => setTimeout(done, 50)), 50)));

// The middle of a bin or save (and row) of the drawing that is shown, on the screen.
async function place(page, kind, bin, row = 0, rows = 1) {
  const shown = page.locator(`figure[data-chart="${kind}"] [data-plot]:visible`).first();
  await shown.scrollIntoViewIfNeeded();
  await settle(page);
  const box = await shown.locator('svg').boundingBox();
  const [plot, width, bins] = await shown.evaluate(div => {
    const { edges, x } = div.closest('figure').dataset;
    const data = JSON.parse(document.getElementById('data').textContent);
    const all = (edges ?? x).split('/').slice(1).reduce((value, key) => value[key], data);
    const bins = edges ? all.length - 1 : all.length;
    return [div.dataset.plot.split(' ').map(Number), div.querySelector('svg').width.baseVal.value, bins];
  });
  const scale = box.width / width;
  return { x: box.x + scale * (plot[0] + plot[2] * (bin + .5) / bins), y: box.y + scale * (plot[1] + plot[3] * (row + .5) / rows) };
}
const tip = page => page.locator('#tip:visible').innerText();

async function sorting(page, layers) {
  await head(page, 'inhibited').locator('button').click();
  assert.equal(await head(page, 'inhibited').getAttribute('aria-sort'), 'descending');
  const sorted = (await order(page)).map(i => layers[i].inhibited);
  assert.deepEqual(sorted, layers.map(layer => layer.inhibited).sort((a, b) => b - a));
  await head(page, 'median').locator('button').press('Enter');
  await head(page, 'median').locator('button').press('Enter');
  assert.equal(await head(page, 'median').getAttribute('aria-sort'), 'ascending');
  assert.equal(await head(page, 'inhibited').getAttribute('aria-sort'), 'none');
  const medians = (await order(page)).map(i => layers[i].median);
  assert.deepEqual(medians, [...medians].sort((a, b) => a - b));
  await head(page, 'layer').locator('button').click();
  const names = await column(page, 0);
  assert.equal(names.length, layers.length);
  const natural = new Intl.Collator('en', { numeric: true });
  assert.deepEqual(names, [...names].sort(natural.compare));
}

const checks = {
  async report(file) {
    await open(file, DESK, async (page, data) => {
      const { histogram, layers } = data.networks[0];
      await sorting(page, layers);

      const bin = histogram.fine_counts.indexOf(Math.max(...histogram.fine_counts));
      let at = await place(page, 'histogram', bin);
      await page.mouse.move(at.x, at.y);
      let text = await tip(page);
      assert.ok(text.includes(`${histogram.fine_counts[bin]} channels`), text);
      assert.ok(text.includes(`γ ${minus(histogram.fine_edges[bin])} … ${minus(histogram.fine_edges[bin + 1])}`), text);

      const row = layers.findIndex(layer => layer.inhibited > 0);
      at = await place(page, 'ridge', bin, row, layers.length);
      await page.mouse.move(at.x, at.y);
      text = await tip(page);
      for (const value of [layers[row].name, minus(layers[row].min), layers[row].median, layers[row].max,
        layers[row].channels, layers[row].histogram.fine_counts[bin], `${layers[row].inhibited} (`]) {
        assert.ok(text.includes(String(value)), `${value} in ${text}`);
      }
      await page.mouse.move(5, 5);
      assert.equal(await page.locator('#tip').isVisible(), false);

      await page.locator('figure[data-chart="ridge"]').focus();
      await settle(page);
      await page.keyboard.press('ArrowDown');
      const told = await tip(page);
      await page.keyboard.press('ArrowDown');
      assert.notEqual(await tip(page), told, 'keys move');
      await page.keyboard.press('Escape');
      assert.equal(await page.locator('#tip').isVisible(), false);

      const cell = page.locator('table.sort tbody tr').first().locator('td').nth(2);
      await cell.scrollIntoViewIfNeeded();
      await settle(page);
      await cell.hover();
      const i = (await order(page))[0];
      assert.ok((await tip(page)).includes(minus(layers[i].median)));

      await page.locator('.filter').fill('Features.17');
      const matching = layers.filter(layer => layer.name.includes('features.17')).length;
      assert.equal((await column(page, 0)).length, matching);
      assert.equal(await page.locator('.matches').innerText(), `${matching} of ${layers.length}`);
      await page.locator('.filter').fill('');
      assert.equal((await column(page, 0)).length, layers.length);
    });
    const colors = [];
    for (const options of [DESK, DARK]) {
      await open(file, options, async page => colors.push(await page.evaluate(() => [
        getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.querySelector('svg text')).fill,
        getComputedStyle(document.querySelector('svg polygon')).fill,
      ])));
    }
    colors[0].forEach((color, i) => assert.notEqual(color, colors[1][i]));
    await open(file, PHONE, async (page, data) => {
      assert.ok(await fits(page));
      const { histogram } = data.networks[0];
      const bin = histogram.fine_counts.indexOf(Math.max(...histogram.fine_counts));
      const at = await place(page, 'histogram', bin);
      await page.touchscreen.tap(at.x, at.y);
      const text = await tip(page);
      // A bin is narrower than a finger: one beside it will do.
      assert.ok(/^γ .*\n\d+ channels?/.test(text), text);
      const small = await page.$$eval('table.sort button', all => all.filter(b => b.getBoundingClientRect().height < 44).length);
      assert.equal(small, 0, 'buttons are large enough for a finger');
    });
  },

  async outlier(file) {
    for (const options of [DESK, PHONE]) {
      await open(file, options, async (page, data) => {
        assert.ok(await fits(page));
        const { drawn } = data.networks[0].histogram, { layers } = data.networks[0];
        const last = drawn.fine_counts.length - 1;
        const row = layers.findIndex(layer => layer.histogram.drawn.above > 0);
        for (const [kind, line, rows] of [['histogram', 0, 1], ['ridge', row, layers.length]]) {
          const at = await place(page, kind, last, line, rows);
          await page.mouse.move(at.x, at.y);
          const text = (await tip(page)).replace(/\s+/g, ' ');
          assert.ok(text.includes(`… ${minus(drawn.fine_edges[last + 1])}`), text);
          assert.ok(text.endsWith(`above the axis ${drawn.above}`), text);
          await page.keyboard.press('Escape');
        }
      });
    }
  },

  async opens(...files) {
    for (const file of files) {
      for (const options of [DESK, DARK, PHONE]) {
        await open(file, options, async (page, data) => {
          assert.ok(await fits(page), file);
          assert.equal(await page.locator('table.sort').count(), data.networks.length);
        });
      }
    }
  },

  async edited(file) {
    await open(file, DESK, async (page, data) => {
      const [before, after] = [data.before.networks[0], data.after.networks[0]];
      const bin = after.histogram.fine_counts.indexOf(Math.max(...after.histogram.fine_counts));
      const at = await place(page, 'histogram', bin);
      await page.mouse.move(at.x, at.y);
      const text = (await tip(page)).replace(/\s+/g, ' ');
      assert.ok(text.includes(`before ${before.histogram.fine_counts[bin]} channels`), text);
      assert.ok(text.includes(`after ${after.histogram.fine_counts[bin]} channels`), text);
      const row = data.regenerated.findIndex(count => count > 0);
      const there = await place(page, 'ridge', bin, row, after.layers.length);
      await page.mouse.move(there.x, there.y);
      const told = await tip(page);
      assert.ok(told.includes(`${minus(before.layers[row].min)} → ${minus(after.layers[row].min)}`), told);
      await head(page, 'regenerated').locator('button').click();
      assert.deepEqual((await order(page)).map(i => data.regenerated[i]), [...data.regenerated].sort((a, b) => b - a));
    });
    await open(file, PHONE, async page => assert.ok(await fits(page)));
  },

  async series(file) {
    await open(file, DESK, async (page, data) => {
      const last = data.saves.length - 1;
      const row = data.layers.findIndex(layer => layer.inhibited[last] > 0);
      const layer = data.layers[row];
      let at = await place(page, 'heat', last, row, data.layers.length);
      await page.mouse.move(at.x, at.y);
      let text = (await tip(page)).replace(/\s+/g, ' ');
      for (const value of [layer.name, `number ${data.saves[last].at}`, `inhibited ${layer.inhibited[last]} (`,
        `median γ ${minus(layer.median[last])}`, `changed sides ${layer.hamming[last]}`]) {
        assert.ok(text.includes(value), `${value} in ${text}`);
      }
      at = await place(page, 'lines', last);
      await page.mouse.move(at.x, at.y);
      text = (await tip(page)).replace(/\s+/g, ' ');
      assert.ok(text.includes(`inhibited channels ${data.network.inhibited[last]}`), text);
      const button = head(page, 'inhibited first').locator('button');
      await button.click();
      assert.deepEqual((await order(page)).map(i => data.layers[i].inhibited[0]),
        data.layers.map(layer => layer.inhibited[0]).sort((a, b) => b - a));
      await head(page, 'changed sides last').locator('button').click();
      assert.deepEqual((await order(page)).map(i => data.layers[i].hamming[last]),
        data.layers.map(layer => layer.hamming[last]).sort((a, b) => b - a));
    });
    for (const options of [DARK, PHONE]) await open(file, options, async page => assert.ok(await fits(page)));
  },

  async runs(file) {
    await open(file, DESK, async (page, data) => {
      const last = data.epochs.length - 1;
      // In the bin of the last epoch: the point of a line is at its end.
      let at = await place(page, 'lines', last);
      await page.mouse.move(at.x, at.y);
      let text = (await tip(page)).replace(/\s+/g, ' ');
      assert.ok(text.includes(`epoch ${data.epochs[last]}`), text);
      for (const run of data.runs) {
        assert.ok(text.includes(`${run.name} ${run.test_top1[last]}`), text);
        assert.ok(text.includes(`training ${run.name} ${run.train_top1[last]}`), text);
      }
      const { histogram } = data.runs[0];
      const row = histogram.findIndex(counts => counts[last] > 0);
      at = await place(page, 'cells', last, histogram.length - 1 - row, histogram.length);
      await page.mouse.move(at.x, at.y);
      text = (await tip(page)).replace(/\s+/g, ' ');
      assert.ok(text.includes(`channels ${histogram[row][last]}`), text);
      await page.locator('figure[data-term="mean |gradient|"]').first().focus();
      await settle(page);
      await page.keyboard.press('ArrowDown');
      text = (await tip(page)).replace(/\s+/g, ' ');
      assert.ok(text.includes(`channel 1 epoch ${data.epochs[0]} mean |gradient| ${data.gradients.gradient[0][1][0]}`), text);
      // The pictures in the masks are there.
      const pictures = await page.$$eval('svg image', all => Promise.all(all.map(async image => {
        const picture = new Image();
        picture.src = image.getAttribute('href');
        await picture.decode();
        return picture.naturalWidth;
      })));
      assert.ok(pictures.length >= 8 && pictures.every(width => width === data.epochs.length), String(pictures));
    });
    const colors = [];
    for (const options of [DESK, DARK]) {
      await open(file, options, async page => colors.push(await page.evaluate(() =>
        [...document.querySelectorAll('svg rect[mask]')].map(rect => getComputedStyle(rect).fill).join())));
    }
    assert.notEqual(colors[0], colors[1]);
    await open(file, PHONE, async page => assert.ok(await fits(page)));
  },

  async comparison(file) {
    await open(file, DESK, async (page, data) => {
      const figures = page.locator('figure[data-chart="intervals"]');
      for (const [i, rows] of [data.arms, data.differences].entries()) {
        await figures.nth(i).focus();
        await settle(page);
        for (let row = 1; row < rows.length; row++) await page.keyboard.press('ArrowDown');
        if (rows.length === 1) await page.keyboard.press('ArrowRight');
        const row = rows[rows.length - 1], text = (await tip(page)).replace(/\s+/g, ' ');
        const [low, high] = row.last.interval.map(minus);
        for (const part of [row.name, `n ${row.last.n}`, `mean ${minus(row.last.mean)}`, `${low} … ${high}`]) {
          assert.ok(text.includes(part), `${part} in ${text}`);
        }
      }
    });
    for (const options of [DARK, PHONE]) await open(file, options, async page => assert.ok(await fits(page)));
  },

  async ablation(file) {
    await open(file, DESK, async (page, data) => {
      const last = data.points.length - 1;
      const at = await place(page, 'lines', last);
      await page.mouse.move(at.x, at.y);
      const text = (await tip(page)).replace(/\s+/g, ' ');
      assert.ok(text.includes(`ablated channels: ${data.points[last]}`), text);
      for (const one of data.checkpoints) assert.ok(text.includes(`${one.name} ${one.top1[last]}`), text);
    });
    for (const options of [DARK, PHONE]) await open(file, options, async page => assert.ok(await fits(page)));
  },

  async compared(file) {
    await open(file, DESK, async (page, data) => {
      const { a, b, layers } = data.networks[0];
      const bin = b.histogram.fine_counts.indexOf(Math.max(...b.histogram.fine_counts));
      let at = await place(page, 'histogram', bin);
      await page.mouse.move(at.x, at.y);
      const text = (await tip(page)).replace(/\s+/g, ' ');
      assert.ok(text.includes(`before ${a.histogram.fine_counts[bin]} channel`), text);
      assert.ok(text.includes(`after ${b.histogram.fine_counts[bin]} channel`), text);
      at = await place(page, 'ridge', bin, 3, layers.length);
      await page.mouse.move(at.x, at.y);
      const told = await tip(page);
      assert.ok(told.includes(`${minus(layers[3].a.median)} → ${minus(layers[3].b.median)}`), told);
      await head(page, 'moved').locator('button').click();
      assert.deepEqual((await order(page)).map(i => layers[i].moved), layers.map(layer => layer.moved).sort((a, b) => b - a));
    });
    for (const options of [DARK, PHONE]) await open(file, options, async page => assert.ok(await fits(page)));
  },

  async hostile(file) {
    await open(file, DESK, async (page, data) => {
      for (let i = 0; i < data.networks[0].layers.length; i++) {
        const at = await place(page, 'ridge', 40, i, data.networks[0].layers.length);
        await page.mouse.move(at.x, at.y);
        assert.ok((await tip(page)).includes(data.networks[0].layers[i].name));
        await page.locator('table.sort tbody tr').nth(i).locator('td').first().hover();
      }
      assert.match(await page.title(), /^γ of /);
      assert.equal(await page.locator('img').count(), 0);
    });
  },

  async large(file) {
    await open(file, DESK, async (page, data) => {
      const { layers } = data.networks[0];
      await sorting(page, layers);
      const took = await page.evaluate(async () => {
        const time = async work => {
          const begin = performance.now();
          work();
          await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
          return performance.now() - begin;
        };
        const button = document.querySelectorAll('table.sort button')[3];
        const figure = document.querySelector('figure[data-chart="ridge"]');
        figure.scrollIntoView();
        const box = figure.querySelector('svg').getBoundingClientRect();
        const move = () => figure.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + box.width / 2, clientY: box.top + 300 }));
        return { sort: await time(() => button.click()), hover: await time(move), load: performance.getEntriesByType('navigation')[0].duration };
      });
      console.log(`200 layers, 50,000 channels: opened in ${took.load.toFixed(0)} ms, sorted in ${took.sort.toFixed(0)} ms, hovered in ${took.hover.toFixed(0)} ms, to the next frame`);
      assert.equal(await page.locator('#tip').isVisible(), true);
    });
  },
};

try {
  await checks[check](...files);
} finally {
  await browser.close();
}
