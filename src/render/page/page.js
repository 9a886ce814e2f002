// Sorting, filtering and exact numbers under the pointer. All numbers come from the JSON in #data.
//
// table.sort    th[data-at]: JSON pointer of the column's values, * being the row's data-i
// input.filter  above it: shows the rows whose first column contains the text
// figure.chart  data-chart="histogram": data-edges, data-symbol (of a value), data-thing (what is counted),
//                                       data-now (an object with the counts under data-key, and below and
//                                       above where some lie beyond the edges), and data-before if there is one
//               data-chart="ridge":     data-edges, data-symbol, data-rows (each with a name), data-now (the
//                                       key of such an object in a row), data-key, data-terms, data-before;
//                                       data-part, data-before-part: where in a row its side stands
//               data-chart="lines":     data-x (saves), data-unit, data-lines (JSON: name and pointer;
//                                       key where it points to objects)
//               data-chart="heat":      data-x, data-unit, data-rows (each with a name), data-terms
//               data-chart="cells":     data-x, data-unit, data-values (by row and column), data-term;
//                                       data-ranges (edges of the rows, from below) and data-symbol, or
//                                       data-name
//               data-chart="intervals": data-rows (each with a name), data-terms
//               each drawing in it has data-plot="left top width height" of its plot
//               data-terms (JSON) is what is told of a row: name; key in the row, of a list by column
//               in a heat; of: the key of what it is a share of; once: before and after are the same
'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const tip = document.getElementById('tip');

  const at = pointer => pointer.split('/').slice(1).reduce(
    (value, key) => value == null ? undefined : value[key.replace(/~1/g, '/').replace(/~0/g, '~')], data);
  const minus = value => value == null ? '–' : String(value).replace('-', '−');
  const plural = (n, thing) => `${n} ${thing}${n === 1 ? '' : 's'}`;
  const share = (n, of) => of ? ` (${(100 * n / of).toFixed(2)} %)` : '';
  const inside = (value, key) => key.split('/').reduce((value, key) => value?.[key], value);
  const terms = figure => JSON.parse(figure.dataset.terms);

  // What a term says of a row, in a column if there are some.
  function told(row, { key, of }, column) {
    const found = inside(row, key), value = column === undefined ? found : found[column];
    const text = Array.isArray(value) ? value.map(minus).join(' … ') : minus(value);
    return of ? text + share(value, inside(row, of)) : text;
  }

  // The tip: a heading and lines of a term and a number.
  function show(x, y, heading, lines) {
    const strong = document.createElement('strong');
    strong.textContent = heading;
    tip.replaceChildren(strong, ...lines.map(([term, number]) => {
      const line = document.createElement('span');
      for (const text of [term, number]) line.append(Object.assign(document.createElement('span'), { textContent: text }));
      return line;
    }));
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = Math.max(8, Math.min(x + 14, innerWidth - width - 8));
    const top = y + 18 + height > innerHeight ? Math.max(8, y - height - 14) : y + 18;
    tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  // What lies beyond the axis, told in its first and last bin.
  const beyond = (sides, bin, bins) => [['below', 0], ['above', bins - 1]]
    .filter(([end, there]) => bin === there && sides.some(side => side[end]))
    .map(([end]) => [`${end} the axis`, sides.map(side => side[end]).join(' → ')]);

  const charts = {
    histogram(figure) {
      const { symbol, thing, key } = figure.dataset;
      const now = at(figure.dataset.now), before = figure.dataset.before && at(figure.dataset.before);
      const count = (side, bin) => plural(side[key][bin], thing);
      const all = [...now[key], now.below ?? 0, now.above ?? 0].reduce((a, b) => a + b);
      return {
        rows: 1,
        tell: (_, bin, range) => [`${symbol} ${range(bin)}`, [
          ...(before
            ? [['before', count(before, bin)], ['after', count(now, bin)]]
            : [[count(now, bin), share(now[key][bin], all).trim()]]),
          ...beyond(before ? [before, now] : [now], bin, now[key].length),
        ]],
      };
    },
    ridge(figure) {
      // Both sides of a row may stand in one object.
      const { part, beforePart, now, key, symbol } = figure.dataset;
      const side = (list, key) => key ? list.map(row => ({ ...row, ...row[key] })) : list;
      const rows = side(at(figure.dataset.rows), part);
      const before = figure.dataset.before && side(at(figure.dataset.before), beforePart);
      const said = terms(figure);
      return {
        rows: rows.length,
        tell: (number, bin, range) => {
          const row = rows[number], old = before && before[number];
          const both = (tell, once) => old && !once ? `${tell(old)} → ${tell(row)}` : tell(row);
          return [row.name, [
            ...said.map(term => [term.name, both(row => told(row, term), term.once)]),
            [`${symbol} ${range(bin)}`, both(row => String(inside(row, now)[key][bin]))],
            ...beyond((old ? [old, row] : [row]).map(row => inside(row, now)), bin, inside(row, now)[key].length),
          ]];
        },
      };
    },
  };

  // Where saves lie on a line from 0 to 1.
  const along = x => {
    const low = x[0], span = x[x.length - 1] - low;
    return x.map(value => span ? (value - low) / span : .5);
  };
  const places = figure => at(figure.dataset.x).map(save => save.at ?? save.after ?? save);

  charts.lines = figure => {
    const x = places(figure);
    const lines = JSON.parse(figure.dataset.lines).map(line => {
      const values = at(line.at);
      return [line.name, line.key ? values.map(value => value[line.key]) : values];
    });
    return {
      rows: 1,
      places: along(x),
      tell: (_, save) => [`${figure.dataset.unit} ${x[save]}`, lines.map(([name, values]) => [name, minus(values[save])])],
    };
  };
  charts.heat = figure => {
    const x = places(figure), rows = at(figure.dataset.rows), said = terms(figure);
    return {
      rows: rows.length,
      columns: x.length,
      tell: (row, save) => [rows[row].name, [
        [figure.dataset.unit, String(x[save])],
        ...said.map(term => [term.name, told(rows[row], term, save)]),
      ]],
    };
  };

  charts.cells = figure => {
    const x = places(figure), values = at(figure.dataset.values);
    const { unit, name, term, ranges, symbol } = figure.dataset;
    const edge = i => minus(Number(at(ranges)[i].toPrecision(4)));
    return {
      rows: values.length,
      columns: x.length,
      tell: (row, column) => {
        const i = ranges ? values.length - 1 - row : row;
        return [ranges ? `${symbol} ${edge(i)} … ${edge(i + 1)}` : `${name} ${i}`, [
          [unit, String(x[column])],
          [term, minus(values[i][column])],
        ]];
      },
    };
  };
  charts.intervals = figure => {
    const rows = at(figure.dataset.rows), said = terms(figure);
    return {
      rows: rows.length,
      columns: 1,
      tell: row => [rows[row].name, said.map(term => [term.name, told(rows[row], term)])],
    };
  };

  for (const figure of document.querySelectorAll('figure.chart')) {
    const chart = charts[figure.dataset.chart]?.(figure);
    if (!chart) continue;
    const edges = figure.dataset.edges ? at(figure.dataset.edges) : [];
    const bins = chart.places?.length ?? chart.columns ?? edges.length - 1;
    const range = bin => `${minus(edges[bin])} … ${minus(edges[bin + 1])}`;
    const cursor = document.createElement('div');
    cursor.className = 'cursor';
    let row = 0, bin = Math.max(0, edges.findIndex(edge => edge > 0) - 1);

    // The drawing that is on the screen, its plot in pixels of the page, and its scale.
    const drawing = () => {
      const shown = [...figure.querySelectorAll('[data-plot]')].find(div => div.offsetParent);
      if (!shown) return null;
      const svg = shown.querySelector('svg'), box = svg.getBoundingClientRect();
      const scale = box.width / svg.width.baseVal.value;
      const [left, top, width, height] = shown.dataset.plot.split(' ').map(n => n * scale);
      return { shown, box, left, top, width, height };
    };
    const point = (x, y) => {
      const d = drawing();
      if (!d) return;
      const pitch = d.height / chart.rows, step = d.width / bins;
      const across = chart.rows > 1 && !chart.columns;
      const [from, wide] = chart.places ? [chart.places[bin] * d.width - 1, 2] : [bin * step, step];
      Object.assign(cursor.style, {
        left: `${across ? d.left : d.left + from}px`, width: `${across ? d.width : wide}px`,
        top: `${d.top + row * pitch}px`, height: `${pitch}px`,
      });
      d.shown.append(cursor);
      show(x ?? d.box.left + d.left + from + wide / 2, y ?? d.box.top + d.top + (row + .7) * pitch,
        ...chart.tell(row, bin, range));
    };
    const leave = () => { tip.hidden = true; cursor.remove(); };
    const follow = event => {
      const d = drawing();
      if (!d) return;
      const u = (event.clientX - d.box.left - d.left) / d.width, v = (event.clientY - d.box.top - d.top) / d.height;
      const inside = chart.rows > 1 ? u <= 1.2 : u >= 0 && u <= 1;
      if (!inside || v < 0 || v >= 1) return leave();
      const far = place => Math.abs(place - u);
      bin = chart.places
        ? chart.places.reduce((best, place, i, all) => far(place) < far(all[best]) ? i : best, 0)
        : Math.max(0, Math.min(bins - 1, Math.floor(u * bins)));
      row = Math.max(0, Math.min(chart.rows - 1, Math.floor(v * chart.rows)));
      point(event.clientX, event.clientY);
    };
    figure.addEventListener('pointermove', follow);
    figure.addEventListener('pointerdown', follow);
    figure.addEventListener('pointerleave', event => { if (event.pointerType !== 'touch') leave(); });
    figure.addEventListener('blur', leave);
    figure.addEventListener('keydown', event => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (event.key === 'Escape') return leave();
      if (!step || (step[0] && chart.rows === 1)) return;
      event.preventDefault();
      row = Math.max(0, Math.min(chart.rows - 1, row + step[0]));
      bin = Math.max(0, Math.min(bins - 1, bin + step[1]));
      point();
    });
  }

  const names = new Intl.Collator('en', { numeric: true });
  for (const table of document.querySelectorAll('table.sort')) {
    const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
    const value = (column, row) => at(heads[column].dataset.at.replace('*', row.dataset.i));

    heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
      const text = head.classList.contains('text');
      const was = head.getAttribute('aria-sort');
      // Numbers are first looked for at their largest.
      const ascending = was === 'none' ? text : was === 'descending';
      const keys = new Map(rows.map(row => [row, value(column, row)]));
      const order = ascending ? 1 : -1;
      rows.sort((a, b) => {
        const [x, y] = [keys.get(a), keys.get(b)];
        if (x == null || y == null) return (x == null) - (y == null);
        return order * (text ? names.compare(x, y) : x - y) || a.dataset.i - b.dataset.i;
      });
      heads.forEach(other => other.setAttribute('aria-sort', other !== head ? 'none' : ascending ? 'ascending' : 'descending'));
      body.append(...rows);
    }));

    const tell = event => {
      const cell = event.target.closest('tbody td');
      if (!cell) { tip.hidden = true; return; }
      const row = cell.parentElement, number = value(cell.cellIndex, row);
      show(event.clientX, event.clientY, value(0, row), [[heads[cell.cellIndex].textContent, minus(number)]]);
    };
    table.addEventListener('pointerover', tell);
    table.addEventListener('pointerdown', tell);
    table.addEventListener('pointerleave', () => { tip.hidden = true; });

    const tools = table.parentElement.previousElementSibling;
    const filter = tools?.querySelector('.filter'), matches = tools?.querySelector('.matches');
    filter?.addEventListener('input', () => {
      const wanted = filter.value.toLowerCase();
      let shown = 0;
      for (const row of rows) {
        row.hidden = !String(value(0, row)).toLowerCase().includes(wanted);
        shown += !row.hidden;
      }
      matches.textContent = wanted ? `${shown} of ${rows.length}` : '';
    });
  }

  document.addEventListener('pointerdown', event => {
    if (!event.target.closest('figure.chart, table.sort')) tip.hidden = true;
  });
  addEventListener('scroll', () => { tip.hidden = true; }, { passive: true });
})();
