"""The page of a report: HTML that needs no script."""

from typing import Any

from jinja2 import Environment

STYLE = """
body { margin: 0 auto; max-width: 1180px; padding: 1.5rem;
  font: 15px/1.5 system-ui, sans-serif; color: #1d1f24; background: #f6f7f9; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
dt, dd { display: inline; margin: 0 1.2rem 0 0; } dd { font-weight: 600; }
dt, .note { color: #667; font-size: .9rem; }
.card, .charts img { background: #fff; border: 1px solid #e2e4e9;
  border-radius: 8px; }
.card { padding: .8rem 1rem; margin: 0 0 1rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-weight: 600; padding: .2rem 0 .4rem; }
th, td { text-align: right; padding: .3rem .6rem; white-space: nowrap;
  font-variant-numeric: tabular-nums; border-top: 1px solid #eceef2; }
th:first-child, td:first-child { text-align: left; }
.total tbody tr:first-child td { font-weight: 600; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; }
.case { display: grid; grid-template-columns: minmax(200px, 300px) 1fr;
  gap: .6rem 1rem; align-items: start; }
.case h3, .case p { grid-column: 1 / -1; font-size: 1rem; margin: 0; }
.case video, .case img { width: 100%; height: auto; border-radius: 4px; }
.pred { color: #b36b00; } .truth { color: #1b78ad; }
"""

HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ report.title }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<h1>{{ report.title }}</h1>
<dl>
{%- for name, text in report.facts.items() %}
<dt>{{ name }}</dt><dd>{{ text }}</dd>
{%- endfor %}
</dl>
{%- for heading, tables in report.sections.items() %}
<h2>{{ heading }}</h2>
{%- for table in tables %}
<div class="card">
<table{% if table.total %} class="total"{% endif %}>
<caption>{{ table.title }}</caption>
<thead><tr>{% for cell in table.head %}<th>{{ cell }}</th>{% endfor %}</tr>
</thead>
<tbody>
{%- for row in table.rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody>
</table>
{%- if table.note %}
<p class="note">{{ table.note }}</p>
{%- endif %}
</div>
{%- endfor %}
{%- endfor %}
<h2>Charts</h2>
<div class="charts">
{%- for name, svg in report.charts.items() if svg %}
<img src="charts/{{ name }}.svg" alt="{{ name }}">
{%- endfor %}
</div>
{%- for heading, cases in report.cases.items() if cases %}
<h2>{{ heading }}</h2>
<p class="note"><span class="pred">Orange, solid: prediction.</span>
<span class="truth">Blue, dashed: truth.</span>
The bar below the picture is the part of the video that is searched.</p>
{%- for case in cases %}
<div class="card case">
<h3>{{ case.view.text }}</h3>
<p>{{ case.view.note }} (query {{ case.view.query_id }})</p>
{%- if case.error %}
<p>Not drawn: {{ case.error }}</p>
{%- elif case.files %}
<video src="{{ case.files[1] }}" controls muted loop preload="metadata">
</video>
<a href="{{ case.files[0] }}"><img src="{{ case.files[0] }}" loading="lazy"
alt="Frames of the clip with the predicted and the true box"></a>
{%- endif %}
</div>
{%- endfor %}
{%- endfor %}
<h2>Files</h2>
<ul>
<li><a href="items.csv">items.csv</a></li>
</ul>
</body>
</html>
"""


def render_html(report: Any) -> str:
    """The page of a ``Report``; opens from disk, with relative links only."""
    page = Environment(autoescape=True).from_string(HTML)
    return page.render(report=report, style=STYLE)
