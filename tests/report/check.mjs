// What runs inside the page: each returns a list of what is wrong. They see nothing of this module.

// All of it fits in the width; a table that is wider scrolls by itself.
export function overflow() {
  const wrong = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width)
    wrong.push(`the page is ${document.documentElement.scrollWidth} wide, the window ${width}`);
  for (const element of document.querySelectorAll('body *')) {
    if (element.closest('.scroll, .picker, .definitions, #tip')) continue;
    const box = element.getBoundingClientRect();
    if (box.width === 0 || box.height === 0) continue;
    if (box.right > width + 0.5 || box.left < -0.5)
      wrong.push(`<${element.tagName} ${element.getAttribute('class')}> ${element.textContent.slice(0, 30)}: ` +
        `from ${box.left} to ${box.right} of ${width}`);
  }
  return wrong;
}

// Every chart holds something, and nothing stands outside it.
export function charts() {
  const wrong = [];
  const say = (element, what) => wrong.push(
    `${element.closest('figure')?.querySelector('figcaption')?.textContent ?? 'no figure'}: ${what}`);
  for (const figure of document.querySelectorAll('figure')) {
    if (figure.closest('[hidden]')) continue;
    if (!figure.querySelector('figcaption b')?.textContent) say(figure, 'no title');
    if (!figure.querySelector('.plot, .bars tr')) say(figure, 'no chart');
  }
  for (const drawing of document.querySelectorAll('.drawing')) {
    if (drawing.closest('[hidden]')) continue;
    const frame = drawing.getBoundingClientRect();
    if (frame.width < 60 || frame.height < 60) say(drawing, `${frame.width} x ${frame.height}`);
    if (!drawing.getAttribute('aria-label')) say(drawing, 'no label');
    const data = [...drawing.querySelectorAll('use, .curve, .dot, .stem, .bar')];
    const drawn = data.filter(thing => {
      const box = thing.getBoundingClientRect();
      return box.width > 0 || box.height > 0;
    });
    if (drawn.length === 0) say(drawing, 'no data');
    for (const thing of drawn) {
      const box = thing.getBoundingClientRect();
      if (box.left < frame.left - 7 || box.right > frame.right + 7 || box.top < frame.top - 7 ||
          box.bottom > frame.bottom + 7)
        say(drawing, `<${thing.tagName} ${thing.getAttribute('class')}> stands outside`);
    }
    if (drawing.querySelectorAll('text').length < 2) say(drawing, 'no ticks');
    // Names and ticks do not run into each other.
    const apart = selector => {
      const boxes = [...drawing.querySelectorAll(selector)].map(text => [text, text.getBoundingClientRect()])
        .filter(([, box]) => box.width > 0);
      boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
        if (p.left < q.right && q.left < p.right && p.top + 2 < q.bottom && q.top + 2 < p.bottom)
          say(drawing, `"${a.textContent}" and "${b.textContent}" overlap`);
      }));
    };
    apart('.name');
    apart('text:not(.name, .rule-name)');
  }
  if (/\b(NaN|undefined|Infinity)\b/.test(document.querySelector('main').innerHTML))
    wrong.push('NaN, undefined or Infinity in the page');
  return wrong;
}

// Text stands out from the page, 4.5 to 1; curves and marks 3 to 1.
export function contrast() {
  const wrong = [];
  const probe = document.body.appendChild(document.createElement('i'));
  const light = name => {
    probe.style.color = `var(${name})`;
    const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g).map(value => {
      const c = value / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const page = light('--page');
  const least = { '--text': 7, '--muted': 4.5, '--line': 2.5 };
  for (let i = 0; i < 8; ++i) least[`--c${i}`] = 3;
  for (const [name, wanted] of Object.entries(least)) {
    const ratio = (Math.max(light(name), page) + 0.05) / (Math.min(light(name), page) + 0.05);
    if (ratio < wanted) wrong.push(`${name}: contrast ${ratio.toFixed(2)}, expected ${wanted}`);
  }
  probe.remove();
  return wrong;
}

// Every column of every table sorts, both ways, with what is empty last.
export function sorting() {
  const wrong = [];
  let sorted = 0;
  for (const table of document.querySelectorAll('table.sortable')) {
    const heads = [...table.tHead.rows[0].cells];
    const before = [...table.tBodies[0].rows].map(row => row.textContent).sort().join();
    heads.forEach((head, column) => {
      for (const direction of ['ascending', 'descending']) {
        head.querySelector('button').click();
        if (head.getAttribute('aria-sort') !== direction) wrong.push(`${head.textContent}: not ${direction}`);
        if (heads.filter(other => other.hasAttribute('aria-sort')).length !== 1) wrong.push('two columns sorted');
        const values = [...table.tBodies[0].rows].map(row => row.cells[column].dataset.v);
        const filled = values.filter(value => value !== undefined);
        if (values.slice(filled.length).some(value => value !== undefined))
          wrong.push(`${head.textContent}: an empty cell is not last`);
        const numbers = filled.map(Number);
        if (numbers.some(Number.isNaN)) continue;  // text: by the rules of the language
        ++sorted;
        numbers.slice(1).forEach((number, i) => {
          if (direction === 'ascending' ? number < numbers[i] : number > numbers[i])
            wrong.push(`${head.textContent}: ${numbers[i]} before ${number}, ${direction}`);
        });
      }
    });
    const after = [...table.tBodies[0].rows].map(row => row.textContent).sort().join();
    if (before !== after) wrong.push('rows were lost');
    for (const row of table.tBodies[0].rows)
      if (row.cells.length !== heads.length) wrong.push(`${row.cells.length} cells under ${heads.length} heads`);
  }
  if (sorted === 0) wrong.push('no column of numbers was sorted');
  return wrong;
}

// One run is shown at a time, each when its button is pressed.
export function picking() {
  const wrong = [];
  const runs = [...document.querySelectorAll('.run')];
  const buttons = [...document.querySelectorAll('.picker button')];
  if (runs.length < 2) return buttons.length > 0 ? ['a choice of one run'] : [];
  if (buttons.length !== runs.length) return [`${buttons.length} buttons for ${runs.length} runs`];
  buttons.forEach((button, i) => {
    button.click();
    const shown = runs.filter(run => run.getBoundingClientRect().height > 0);
    if (shown.length !== 1 || shown[0] !== runs[i]) wrong.push(`button ${i} shows ${shown.map(run => run.id)}`);
    if (buttons.filter(b => b.getAttribute('aria-pressed') === 'true').length !== 1) wrong.push('two pressed');
  });
  return wrong;
}
