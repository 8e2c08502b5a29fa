#include "report/page.h"

namespace watersic::report {

// Colours that stay apart for colour-blind readers (after Okabe and Ito), darkened to be seen on
// white and lightened to be seen on black; each series has a mark of its own besides.
std::string_view style_sheet() {
  return R"css(:root {
  --page: #fff; --text: #1b1f23; --muted: #5d666f; --faint: #e6e9ec; --soft: #f5f7f8;
  --line: #8d969e; --hover: rgb(0 0 0 / 5%);
  --c0: #0068a8; --c1: #cf5a08; --c2: #8355a5; --c3: #00875f; --c4: #9c7400; --c5: #2b95c9;
  --c6: #b5527f; --c7: #60676d;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --text: #e8eaec; --muted: #9ba4ac; --faint: #2a3036; --soft: #1c2024;
    --line: #79828a; --hover: rgb(255 255 255 / 7%);
    --c0: #5cb3ee; --c1: #f2914f; --c2: #c09be0; --c3: #3fc795; --c4: #deb43c; --c5: #a3d8f7;
    --c6: #ec9cc2; --c7: #b0b6bb;
  }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; scroll-behavior: smooth; }
body {
  margin: 0 auto; padding: 40px 32px 72px; max-width: 1304px; background: var(--page);
  color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  -webkit-text-size-adjust: 100%;
}
h1, h2, h3, h4, h5, p, dl, dd, ul, figure { margin: 0; padding: 0; }
h1 { font-size: 38px; line-height: 1.15; letter-spacing: -.02em; overflow-wrap: anywhere; }
h2 {
  margin: 56px 0 18px; padding-top: 14px; border-top: 2px solid var(--text); font-size: 23px;
  letter-spacing: -.01em;
}
h3 { margin: 28px 0 6px; font-size: 17px; overflow-wrap: anywhere; }
h4 { margin: 24px 0 6px; font-size: 15px; }
.kicker { color: var(--muted); font-size: 13px; letter-spacing: .04em; }
.lead { margin-top: 10px; max-width: 46em; font-size: 18px; line-height: 1.45; text-wrap: balance; }
nav { display: flex; flex-wrap: wrap; gap: 4px 20px; margin-top: 18px; font-size: 14px; }
a { color: var(--c0); text-underline-offset: 3px; text-decoration-thickness: 1px; }

.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 22px 28px; }
.headline dt { color: var(--muted); font-size: 14px; }
.headline dd {
  font-size: 40px; font-weight: 600; line-height: 1.15; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums;
}
.headline small { font-size: 19px; font-weight: 400; letter-spacing: 0; }
.headline .remark { font-size: 14px; font-weight: 400; letter-spacing: 0; line-height: 1.4; color: var(--muted); }

.grid2 { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(430px, 100%), 1fr)); gap: 30px 36px; }
.grid3 { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); gap: 24px 32px; }
.grid2, .grid3 { margin-top: 22px; }
figure { min-width: 0; margin-top: 26px; }
.grid2 > figure, .grid3 > figure { margin-top: 0; }
figcaption { font-size: 13.5px; line-height: 1.4; }
figcaption b { font-size: 15px; }
figcaption span { display: block; max-width: 62em; color: var(--muted); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; margin-top: 8px; font-size: 14px; }
figure .legend { display: none; }
figure .legend:has(+ .nameless) { display: flex; }
.entry { display: inline-flex; align-items: center; gap: 7px; }
.key { flex: none; width: 14px; height: 14px; overflow: visible; }
.definitions { position: absolute; width: 0; height: 0; }

.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
.plot { margin: 14px 14px 27px max(46px, var(--ticks)); }
.plot.named { margin-right: max(14px, var(--names)); }
.plot.across { margin-bottom: 44px; }
.plot.bare { margin-left: 2px; }
.drawing { display: block; width: 100%; height: var(--h); overflow: visible; }
.drawing svg { overflow: visible; }
.drawing text { font-size: 12px; fill: var(--muted); font-variant-numeric: tabular-nums; }
.grid { stroke: var(--faint); }
.base { stroke: var(--line); }
.bare .y { display: none; }
.rule { stroke: var(--line); stroke-dasharray: 5 4; }
.drawing .rule-name, .drawing .name { paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; }
.drawing .name { fill: var(--c); font-size: 13px; font-weight: 600; }
.curve { fill: none; stroke: var(--c); stroke-width: 2px; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.crowded .mark use { display: none; }
.crowded .mark:hover use { display: inline; }
use { fill: var(--c); stroke: var(--page); stroke-width: 1px; }
.mark:hover use { stroke: var(--text); stroke-width: 1.5px; }
.dot { fill: var(--c); r: 3.2px; }
.stem { stroke: var(--c); stroke-width: 1.5px; opacity: .75; }
.stem.wide { stroke-width: 6px; opacity: 1; }
.stem.box { stroke-width: 6px; opacity: .55; }
.full .stem.wide, .full .stem.box { stroke-width: 3px; }
.full .dot { r: 2.4px; }
.dense .stem { stroke-width: 1px; }
.dense .stem.wide, .dense .stem.box { stroke-width: 1.6px; }
.dense .dot { r: 1.5px; }
.dash { stroke: var(--text); stroke-width: 1.5px; }
.dash.target { stroke: var(--line); stroke-width: 1px; }
.bar { fill: var(--c); stroke: var(--page); stroke-width: .6px; }
.hit { fill: transparent; }
rect.hit:hover, [data-tip]:hover > rect.hit { fill: var(--hover); }

.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(148px, 1fr)); gap: 12px 16px; margin-top: 10px; }
.panel { min-width: 0; }
.panel h5 { display: flex; justify-content: space-between; gap: 8px; font-size: 13px; overflow-wrap: anywhere; }
.panel h5 span { color: var(--muted); font-weight: 400; font-variant-numeric: tabular-nums; }
.plot.small { margin: 8px 4px 21px max(28px, var(--ticks)); }
.small text { font-size: 11px; }
.small .drawing text { font-size: 11px; }

.picker { display: flex; flex-wrap: wrap; gap: 8px; margin: 4px 0 8px; }
.picker[hidden], .run[hidden], #tip[hidden] { display: none; }
button { font: inherit; color: inherit; }
.picker button { padding: 5px 13px; border: 1px solid var(--faint); border-radius: 16px; background: none; font-size: 14px; cursor: pointer; }
.picker button[aria-pressed=true] { border-color: var(--text); background: var(--soft); font-weight: 600; }
.file { color: var(--muted); font-size: 13.5px; overflow-wrap: anywhere; }

.scroll { margin-top: 8px; overflow-x: auto; overscroll-behavior-x: contain; }
/* Not collapsed: borders would not go with a head that stays in sight. */
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; }
.sortable { min-width: 100%; font-size: 14px; }
.sortable th, .sortable td { padding: 5px 0 5px 18px; text-align: right; white-space: nowrap; }
.sortable th:first-child, .sortable td:first-child { padding-left: 0; }
.sortable .text, .sortable th[scope=row], .sortable th:first-child { text-align: left; }
.sortable thead th { border-bottom: 1.5px solid var(--text); color: var(--muted); font-weight: 500; vertical-align: bottom; }
.sortable tbody th { font-weight: 500; }
.sortable th:first-child { position: sticky; left: 0; background: var(--page); }
.sortable tbody tr + tr > * { border-top: 1px solid var(--faint); }
.sortable tbody tr:hover > * { background: var(--soft); }
#overview tbody th { min-width: 13em; max-width: 30em; white-space: normal; }
.sortable .original > * { color: var(--muted); }
.sortable button { padding: 0; border: 0; background: none; cursor: pointer; text-align: inherit; }
.sortable button:hover { color: var(--text); text-decoration: underline; text-underline-offset: 3px; }
.sortable [aria-sort] { color: var(--text); }
.sortable [aria-sort=ascending] button::after { content: " ↑"; }
.sortable [aria-sort=descending] button::after { content: " ↓"; }
.run .sortable { font-size: 12.5px; }
.run .sortable th, .run .sortable td { padding: 3px 0 3px 10px; }
.run .sortable th:first-child { padding-left: 0; }
#tokens .sortable { font-size: 13px; }
#tokens .sortable th, #tokens .sortable td { padding-left: 13px; }
#tokens .sortable th:first-child { padding-left: 0; }
#overview .sortable { font-size: 15px; }
#overview .sortable th, #overview .sortable td { padding-top: 8px; padding-bottom: 8px; }

.bars { width: 100%; table-layout: fixed; margin-top: 10px; font-size: 14px; }
.bars th { width: 134px; padding: 3px 12px 3px 0; text-align: left; font-weight: 400; overflow-wrap: anywhere; }
.bars td:last-child { width: 96px; padding-left: 12px; text-align: right; white-space: nowrap; }
.bars i { display: block; width: var(--part); min-width: 1px; height: 13px; background: var(--c); }

details { margin-top: 24px; }
summary { cursor: pointer; font-weight: 600; }
.options { columns: 3 240px; margin-top: 8px; font-size: 13.5px; }
.options div { display: flex; gap: 10px; break-inside: avoid; }
.options dt { color: var(--muted); }
.options dd { overflow-wrap: anywhere; min-width: 0; }
.absent { margin-top: 24px; color: var(--muted); font-size: 13.5px; }
.absent h4 { margin: 0 0 2px; font-size: 13.5px; }
.absent ul { padding-left: 18px; overflow-wrap: anywhere; }
:focus-visible { outline: 2px solid var(--c0); outline-offset: 2px; }

#tip {
  position: fixed; z-index: 1; left: 0; top: 0; max-width: min(360px, calc(100vw - 16px));
  padding: 8px 11px; border-radius: 5px; background: var(--text); color: var(--page);
  font-size: 13px; line-height: 1.42; white-space: pre-line; overflow-wrap: anywhere;
  pointer-events: none; font-variant-numeric: tabular-nums;
}
#tip b { display: block; }

@media (max-width: 900px) {
  #overview .sortable :is(th, td):not(:first-child) { padding-left: 9px; }
}
@media (max-width: 600px) {
  body { padding: 24px 16px 48px; }
  h1 { font-size: 29px; }
  h2 { margin-top: 44px; }
  .lead { font-size: 16.5px; }
  .headline { grid-template-columns: 1fr 1fr; gap: 20px; }
  .headline dd { font-size: 30px; }
  .headline small { font-size: 16px; }
  .plot { margin-left: max(40px, var(--ticks)); margin-right: 6px; }
  .plot.named { margin-right: 8px; }
  .plot .name { display: none; }
  figure .legend { display: flex; }
  .panels { grid-template-columns: 1fr 1fr; }
  /* A run on two lines, so that what matters is in sight. */
  #overview .sortable tr { display: grid; grid-template-columns: 1.1fr .8fr 1fr 1fr; }
  #overview .sortable tbody tr + tr { border-top: 1px solid var(--faint); }
  #overview .sortable tbody tr > * { padding: 2px 0 8px; border: 0; }
  #overview .sortable tbody th { grid-column: 1 / -1; padding: 8px 0 0; }
  #overview .sortable thead th:first-child, #overview .sortable :is(:nth-child(4), :nth-child(7), :nth-child(8)):is(th, td) { display: none; }
  #overview .sortable :is(th, td):not(:first-child) { padding-left: 0; }
  #overview .sortable :is(th, td):nth-child(2) { text-align: left; }
  .picker { flex-wrap: nowrap; overflow-x: auto; margin-right: -16px; padding-right: 16px; }
  .picker button { flex: none; }
  .bars th { width: 118px; }
  .bars td:last-child { width: 88px; }
  .minor { display: none; }
}
@page { size: A4; margin: 14mm 13mm; }
@page figures { size: A4 landscape; }
@media print {
  html { color-scheme: light; }
  body { padding: 0; max-width: none; font-size: 10pt; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h1 { font-size: 22pt; }
  h2 { margin-top: 22pt; font-size: 14pt; }
  h2, h3, h4, figcaption { break-after: avoid; }
  figure, .panel, .headline, .sortable tr { break-inside: avoid; }
  nav, .picker, #tip { display: none; }
  .grid2 { grid-template-columns: 1fr 1fr; gap: 14pt 18pt; }
  .grid3 { grid-template-columns: 1fr 1fr 1fr; gap: 14pt; }
  .panels { grid-template-columns: repeat(4, 1fr); }
  .plot.named { margin-right: 8px; }
  .plot .name, .minor { display: none; }
  figure .legend { display: flex; }
  .drawing { height: calc(.78 * var(--h)); }
  .scroll { overflow: visible; }
  .wide { page: figures; }
  details::details-content { content-visibility: visible; block-size: auto; }
  .sortable, .run .sortable, #overview .sortable { font-size: 8pt; }
  #tokens .sortable { font-size: 6.5pt; }
  .sortable th, .sortable td, .run .sortable th, .run .sortable td { padding: 1.5pt 0 1.5pt 7pt; }
  #tokens .sortable th, #tokens .sortable td { padding-left: 5pt; }
  .run .sortable { font-size: 7.5pt; }
  .sortable button::after { content: none; }
}
)css";
}

}  // namespace watersic::report
