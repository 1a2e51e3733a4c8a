"""How the page looks: light and dark, wide and narrow, without anything from elsewhere."""

from typing import Final

from im_jax.data.display import COLOURS
from im_jax.token_classes import MAIN_CLASSES

_CLASSES: Final = "\n".join(f".{c.label} {{ --colour: {COLOURS[c]}; }}" for c in MAIN_CLASSES if c in COLOURS)

STYLE: Final = (
    """
:root { color-scheme: light dark; --paper: #fff; --card: #f6f7f9; --ink: #1d2127; --quiet: #626a75;
  --line: #dfe3e8; --accent: #b3261e; --lift: 0%; --neutral: #5b6b82;
  --shade: #0003; --off: .18; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171b; --card: #1c2026; --ink: #e4e7eb; --quiet: #9aa3af; --line: #333a43;
    --accent: #ff8a80; --lift: 32%; --neutral: #8a9bb4;
    --shade: #fff4; --off: .32; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.2rem 4rem; max-width: 62rem; color: var(--ink); background:
  var(--paper);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .6rem; padding-top: .7rem; border-top: 1px solid var(--line); }
h3 { font-size: .95rem; margin: 1.2rem 0 .1rem; font-weight: 600; }
p { margin: .4rem 0; } .quiet, .x, .title, caption { color: var(--quiet); font-size: .875rem; }
.x { text-align: center; margin: 0; } .title { margin: 0 0 .5rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem; margin:
  1.2rem 0; }
.tiles div { background: var(--card); border-radius: 10px; padding: .7rem .9rem; }
.tiles b { display: block; font-size: 1.45rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--quiet); font-size: .85rem; display: block; line-height: 1.35; }
ul.findings { list-style: none; padding: 0; margin: 0; }
ul.findings li { border-left: 3px solid var(--accent); padding: .15rem 0 .15rem .7rem; margin: .45rem 0; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 23rem), 1fr)); gap: 1rem
  2.2rem; }
.tables { display: flex; flex-wrap: wrap; gap: 0 3rem; } .scroll { overflow-x: auto; max-width: 100%;
  background: linear-gradient(to right, var(--paper) 30%, transparent) left / 2.5rem 100% no-repeat local,
  linear-gradient(to left, var(--paper) 30%, transparent) right / 2.5rem 100% no-repeat local,
  linear-gradient(to right, var(--shade), transparent) left / .8rem 100% no-repeat scroll,
  linear-gradient(to left, var(--shade), transparent) right / .8rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { text-align: right; padding: .22rem 0 .22rem 1.3rem; white-space: nowrap; border-bottom: 1px
  solid var(--line); }
th { font-weight: 500; color: var(--quiet); font-size: .82rem; }
th:first-child, td:first-child { text-align: left; padding-left: 0; } td.part { padding-left: 1.4rem; }
tr.all td { font-weight: 600; border-bottom: 0; }
td.wide { white-space: normal; }
.plot { padding: 1.3rem 0 0 3.1rem; } .area { position: relative; height: 8.5rem; border-bottom: 1px solid
  var(--quiet); }
.tall .area { height: 17rem; } .axis { position: relative; height: 1.6rem; font-size: .8rem; color:
  var(--quiet); }
.bars { position: absolute; inset: 0; display: flex; align-items: flex-end; gap: 1px; }
.bars i { flex: 1; min-height: 0; background: var(--fill); border-radius: 2px 2px 0 0; }
.bars i:hover, .stacked i:hover { filter: brightness(1.2); }
i, .chip { --fill: color-mix(in srgb, var(--colour, var(--neutral)), white var(--lift)); }
i.over { --fill: var(--accent); }
.line { position: absolute; left: 0; right: 0; border-top: 1px solid var(--line); font-weight: 400; }
.line.zero { border-top-color: var(--quiet); }
.line u { position: absolute; right: 100%; top: -.65rem; padding-right: .45rem; text-decoration: none;
  white-space: nowrap; font-size: .8rem; color: var(--quiet); }
.tick { position: absolute; top: .25rem; transform: translateX(-50%); white-space: nowrap; }
.tick::before { content: ""; position: absolute; left: 50%; top: -.25rem; height: .25rem; border-left:
  1px solid var(--quiet); }
.mark { position: absolute; top: 0; bottom: 0; border-left: 1.5px dashed var(--ink); font-weight: 400; }
.mark u { position: absolute; top: -1.2rem; font-size: .8rem; text-decoration: none; white-space: nowrap; }
.mark.right u { left: -.1rem; } .mark.left u { right: -.1rem; }
.mark.limit { border-left-color: var(--accent); } .mark.limit u { color: var(--accent); }
.stacked { margin: .35rem 0; display: grid; grid-template-columns: 7.5rem 1fr; gap: .6rem; align-items:
  center;
  font-size: .875rem; }
.stacked > div { display: flex; gap: 1px; height: 1.35rem; border-radius: 4px; overflow: hidden;
  background: var(--card); }
.stacked i { background: var(--fill); } .stacked i.off { opacity: var(--off); }
.chip { display: inline-block; width: .75em; height: .75em; border-radius: 3px; background: var(--fill);
  margin-right: .45em; }
.band { position: absolute; top: 0; bottom: 0; background: color-mix(in srgb, var(--neutral) 12%,
  transparent); }
svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
svg line { stroke: var(--ink); stroke-width: 1.6; vector-effect: non-scaling-stroke; }
svg .guess { stroke-dasharray: 5 5; opacity: .55; }
.dot { position: absolute; width: 10px; height: 10px; margin: 0 0 -5px -5px; border-radius: 50%;
  font-weight: 400;
  background: var(--paper); border: 2px solid var(--neutral); }
.dot u { position: absolute; text-decoration: none; white-space: nowrap; font-size: .78rem; color:
  var(--quiet); }
.dot.above u { bottom: 9px; left: 50%; transform: translateX(-50%); }
.dot.below u { top: 9px; left: 50%; transform: translateX(-50%); }
.dot.right u { left: 11px; top: -.55rem; } .dot.left u { right: 11px; top: -.55rem; }
.dot.ours { width: 14px; height: 14px; margin: 0 0 -7px -7px; background: var(--accent); border-color:
  var(--paper); }
.dot.not { background: var(--paper); border-color: var(--accent); }
code { font: .86em ui-monospace, monospace; }
@media (max-width: 34rem) {
  body { padding: 1.2rem .9rem 3rem; } h1 { font-size: 1.2rem; } .tick.minor { display: none; } .stacked
  { grid-template-columns: 1fr; gap: .1rem; }
  table { font-size: .8rem; } th { font-size: .75rem; } th, td { padding-left: .5rem; }
  td:first-child { white-space: normal; min-width: 6.2rem; }
  .plot { padding-left: 2.7rem; }
  .dot.paper u { display: none; } }
@media print { .tiles div { border: 1px solid var(--line); } }
"""
    + _CLASSES
)
