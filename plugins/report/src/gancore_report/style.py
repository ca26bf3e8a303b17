"""How the report looks, in light and in dark."""

CSS = """
:root{--ground:#fff;--text:#1b1f24;--soft:#57606a;--rule:#d8dee4;--grid:#e7ebef;--axis:#8c959f;--panel:#f6f8fa;
--best:#fff3c4;--mark:#1b1f24;--warn:#9a3b00;--link:#0060a8;
--run0:#0072b2;--run1:#d55e00;--run2:#008f68;--run3:#b8568f;--run4:#a87800;--run5:#3a9bd6;--run6:#6e7781;--letter:#fff}
@media (prefers-color-scheme:dark){:root{--ground:#14171c;--text:#e6e9ed;--soft:#a3abb5;--rule:#343a43;--grid:#262b33;
--axis:#6b7480;--panel:#1c2027;--best:#4a3d0c;--mark:#fff;--warn:#f0a46c;--link:#6cb6f0;
--run0:#4aa8e8;--run1:#f58a45;--run2:#2fc49a;--run3:#e596c4;--run4:#e3b341;--run5:#9bd3f5;--run6:#aab2bc;--letter:#14171c}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:20px 20px 60px;background:var(--ground);color:var(--text);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{font-size:26px;line-height:1.25;margin:8px 0 4px;overflow-wrap:anywhere}
h2{font-size:20px;margin:40px 0 10px;padding-bottom:4px;border-bottom:1px solid var(--rule)}
h3{font-size:15px;margin:22px 0 6px}
p{margin:6px 0;max-width:80ch}
p.note{max-width:120ch}
.soft,.note{color:var(--soft)}
.note{font-weight:400;font-size:12px}
nav{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:14px;margin:10px 0}
a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:4px 14px 4px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
tr>*+*{padding-left:10px}
thead th{vertical-align:bottom;overflow-wrap:anywhere}
tbody th{font-weight:400;color:var(--soft);white-space:nowrap}
td{overflow-wrap:anywhere;min-width:7em}
.scores td,.scores thead th+th{text-align:right}
.scores thead th{max-width:16em}
.scores tbody th{color:var(--text)}
.best{font-weight:700;background:var(--best)}
.badge{display:inline-block;min-width:1.5em;padding:0 .3em;border-radius:4px;color:var(--letter);font-size:12px;
line-height:1.5em;font-weight:700;text-align:center}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:20px 24px;align-items:end}
figure{margin:0;max-width:520px;min-width:0}
figcaption{font-size:14px;line-height:1.35;margin-bottom:4px;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:0 12px;font-size:12px;color:var(--soft)}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font-size:11px}
svg text:not(.end){fill:var(--soft)}
svg .name{font-size:10px}
svg .end{font-weight:700;font-size:12px;paint-order:stroke;stroke:var(--ground);stroke-width:3px;stroke-linejoin:round}
.grid{stroke:var(--grid)}
.axis{stroke:var(--axis)}
.line{fill:none;stroke-width:1.9;stroke-linejoin:round}
.faint{fill:none;stroke-width:1;opacity:.28}
.level{stroke:var(--mark);stroke-dasharray:4 3;stroke-width:1.2}
.marker{stroke:var(--mark);stroke-width:2}
img{display:block;max-width:100%;height:auto;border-radius:4px}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:16px 24px;align-items:start}
.past{grid-template-columns:repeat(auto-fill,minmax(min(100%,180px),1fr));gap:12px}
details{margin:10px 0}
summary{cursor:pointer;color:var(--link)}
pre{background:var(--panel);padding:12px 14px;border-radius:6px;overflow-x:auto;font-size:13px;line-height:1.45}
code{font-size:13px}
.differs{background:var(--best)}
.warn{color:var(--warn)}
ul{margin:6px 0;padding-left:20px}
"""
