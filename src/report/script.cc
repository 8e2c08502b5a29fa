#include "report/page.h"

namespace watersic::report {

std::string_view script() {
  return R"js('use strict';
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // What is pointed at says what it is.
  const tip = document.getElementById('tip');
  const hide = () => { tip.hidden = true; };
  const show = event => {
    const thing = event.target.closest ? event.target.closest('[data-tip]') : null;
    if (!thing) return hide();
    const [head, ...lines] = thing.dataset.tip.split('\n');
    const title = document.createElement('b');
    title.textContent = head;
    tip.replaceChildren(title, lines.join('\n'));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    let left = event.clientX + 14, top = event.clientY - box.height - 12;
    if (left + box.width > width - 8) left = Math.max(8, event.clientX - box.width - 14);
    if (left < 8) left = 8;
    if (top < 8) top = event.clientY + 18;
    tip.style.left = left + 'px';
    tip.style.top = top + 'px';
  };
  document.addEventListener('pointermove', show);
  document.addEventListener('pointerdown', show);
  document.addEventListener('scroll', hide, true);
  document.documentElement.addEventListener('pointerleave', hide);

  // A table is sorted by the column whose head is pressed; pressed again, the other way round. Empty
  // cells come last either way.
  const value = (row, column) => row.cells[column].dataset.v;
  const compare = (a, b) => {
    const difference = Number(a) - Number(b);
    return Number.isNaN(difference) ? a.localeCompare(b, 'en', { numeric: true }) : difference;
  };
  const sort = (table, column) => {
    const head = table.tHead.rows[0].cells[column];
    const down = head.getAttribute('aria-sort') === 'ascending';
    for (const cell of table.tHead.rows[0].cells) cell.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const rows = [...table.tBodies[0].rows];
    rows.sort((r, s) => {
      const a = value(r, column), b = value(s, column);
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      return down ? compare(b, a) : compare(a, b);
    });
    table.tBodies[0].append(...rows);
  };
  for (const table of all('table.sortable')) {
    all('thead th', table).forEach((head, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      button.addEventListener('click', () => sort(table, column));
      head.append(button);
    });
  }

  // Of several runs one is shown.
  const picker = document.querySelector('.picker');
  if (picker) {
    const buttons = all('button', picker);
    const pick = chosen => {
      for (const button of buttons) {
        button.setAttribute('aria-pressed', String(button === chosen));
        document.getElementById(button.dataset.run).hidden = button !== chosen;
      }
    };
    for (const button of buttons) button.addEventListener('click', () => pick(button));
    pick(buttons[0]);
    picker.hidden = false;
  }
})();
)js";
}

}  // namespace watersic::report
