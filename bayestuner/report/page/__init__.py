"""The report: one page of HTML that works offline, made of a study's data by a template and Vega-Lite (extra ``report``).

`content` and `model` turn a study into plain data, `charts` turns that into Vega-Lite's specifications, `render` puts them into the page;
nothing here measures or changes anything.
"""
