"""The style sheet: light and dark, phone and desk, print; no fonts or images to load."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #fbfaf7; --card: #ffffff; --ink: #1c1f23; --soft: #5b636d; --line: #e3e0d8;
  --grid: #ebe8e0; --one: #0b7a70; --two: #c2541a; --three: #5a55c4; --four: #8a6d00;
  --good: #0b7a52; --bad: #b42318; --warn: #8a5a00; --wash: #0b7a7014;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1b1f24; --ink: #e9e7e2; --soft: #a2a9b2; --line: #2e343b;
    --grid: #2a3037; --one: #41c7b7; --two: #f29a5c; --three: #a9a4ff; --four: #dcbc4e;
    --good: #4fd1a0; --bad: #ff8a7d; --warn: #e6b455; --wash: #41c7b71f;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
header { margin-bottom: 28px; }
h1 { font-size: 2rem; line-height: 1.15; margin: 0 0 6px; letter-spacing: -0.02em; }
h2 { font-size: 1.3rem; margin: 0 0 14px; letter-spacing: -0.01em; }
h3 { font-size: 1rem; margin: 22px 0 8px; }
p { margin: 0 0 12px; max-width: 74ch; }
.lead { font-size: 1.08rem; color: var(--soft); margin-bottom: 10px; }
.soft, figcaption, caption, .absent { color: var(--soft); font-size: 0.9rem; }
.absent { font-style: italic; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 0.92rem; }
a { color: var(--one); text-underline-offset: 3px; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 24px; margin: 0 0 22px; scroll-margin-top: 12px;
}
.tiles { display: grid; gap: 14px; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 16px 18px; }
.tile.main { background: var(--wash); border-color: var(--one); }
.tile .name { color: var(--soft); font-size: 0.85rem; }
.tile .value { font-size: 1.75rem; font-weight: 650; letter-spacing: -0.02em; line-height: 1.25;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.tile .value small { font-size: 0.95rem; font-weight: 500; color: var(--soft);
  letter-spacing: 0; }
.tile .note { font-size: 0.86rem; color: var(--soft); }
.tiles { margin-bottom: 22px; }
.pair { display: grid; gap: 20px 28px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.three { display: grid; gap: 20px 24px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); margin-bottom: 10px; }
.pair { margin-bottom: 14px; }
figure { margin: 0 0 8px; min-width: 0; max-width: 620px; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { margin-top: 4px; }
.scroll { overflow-x: auto; margin: 0 0 14px; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 6px; caption-side: top; }
th, td { text-align: left; padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: 0.84rem; vertical-align: bottom; }
th.n, td.n { text-align: right; }
th:last-child, td:last-child { padding-right: 0; }
tr:last-child td { border-bottom: 0; }
tr.total td { border-top: 2px solid var(--line); font-weight: 600; }
td .range { display: block; }
.range { color: var(--soft); font-size: 0.84em; }
.chip { display: inline-block; border: 1px solid currentColor; border-radius: 99px;
  padding: 0 9px; font-size: 0.76rem; line-height: 1.55; color: var(--soft); }
.chip.measured, .chip.good { color: var(--good); }
.chip.estimated, .chip.warn { color: var(--warn); }
.chip.unavailable, .chip.bad { color: var(--bad); }
.steps { display: flex; flex-wrap: wrap; gap: 6px; padding: 0; margin: 14px 0 0; list-style: none; }
.steps li { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 3px 10px; font-size: 0.88rem; }
.steps b { font-weight: 600; }
.steps .done { color: var(--good); } .steps .not { color: var(--bad); }
dl { display: grid; grid-template-columns: minmax(120px, max-content) 1fr; gap: 4px 18px;
  margin: 0; font-size: 0.94rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
blockquote { margin: 0 0 14px; padding: 12px 16px; border-left: 3px solid var(--one);
  background: var(--wash); border-radius: 0 10px 10px 0; }
blockquote.model { border-color: var(--two); background: none; }
blockquote.model .words { font: 0.86rem/1.5 ui-monospace, Menlo, monospace; }
blockquote .source { font-weight: 600; overflow-wrap: anywhere; }
.words { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.94rem; margin: 6px 0 0; }
pre { overflow: auto; background: var(--page); border: 1px solid var(--line);
  border-radius: 10px; padding: 14px 16px; font: 0.86rem/1.5 ui-monospace, Menlo, monospace;
  max-height: 520px; margin: 8px 0 0; }
code { font: 0.9em ui-monospace, Menlo, monospace; overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; }
details + details { margin-top: 12px; }
footer { color: var(--soft); font-size: 0.86rem; }
@media (max-width: 560px) {
  main { padding: 20px 12px 40px; }
  section { padding: 16px 14px; border-radius: 12px; }
  h1 { font-size: 1.6rem; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 10px; }
  .tile { padding: 12px; } .tile .value { font-size: 1.3rem; }
  .tile .value small { font-size: 0.8rem; }
  dl { grid-template-columns: minmax(84px, 34%) 1fr; gap: 4px 12px; }
}
@media print {
  body { background: #fff; } section, .tile { break-inside: avoid; }
  nav { display: none; }
}
"""
