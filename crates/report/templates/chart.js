/*<![CDATA[*/
// Adds to a static chart page: a read-out of all series at one x by mouse, finger or keyboard, legend
// entries that hide a series, and buttons that save the picture. Everything it shows comes from the
// data block of the page, and all of it is set as text, never as markup.
(function () {
  'use strict';
  var source = document.getElementById('chart-data');
  var figure = document.querySelector('figure.chart');
  if (!source || !figure) { return; }
  var data = JSON.parse(source.textContent);
  var NS = 'http://www.w3.org/2000/svg';
  var hidden = new Set();
  var at = null;

  function make(parent, name, cls) {
    var node = document.createElement(name);
    if (cls) { node.className = cls; }
    parent.appendChild(node);
    return node;
  }
  function draw(parent, name, attributes) {
    var node = document.createElementNS(NS, name);
    Object.keys(attributes).forEach(function (key) { node.setAttribute(key, attributes[key]); });
    parent.appendChild(node);
    return node;
  }
  function show(value, format) {
    return value.toLocaleString('en-US', { minimumFractionDigits: format[0], maximumFractionDigits: format[0] }) + format[1];
  }
  // Share of an axis [min, max, logarithmic, categories] at which a value stands.
  function share(axis, value) {
    if (axis[3]) { return (axis[3].indexOf(value) + 0.5) / axis[3].length; }
    return axis[2] ? Math.log(value / axis[0]) / Math.log(axis[1] / axis[0]) : (value - axis[0]) / (axis[1] - axis[0]);
  }

  // Every x at which any panel has a point, ascending.
  var xs = [];
  data.panels.forEach(function (panel) {
    panel.series.forEach(function (series) {
      series.values = new Map();
      series.points.forEach(function (point) { series.values.set(point[0], point); });
      xs = xs.concat(Array.from(series.values.keys()));
    });
  });
  xs = Array.from(new Set(xs)).sort(function (a, b) { return a - b; });
  if (!xs.length) { return; }

  var tip = make(figure, 'div', 'tip');
  tip.hidden = true;
  var live = make(figure, 'div', 'sr');
  live.setAttribute('aria-live', 'polite');

  var views = ['wide', 'narrow'].map(function (name) {
    var svg = figure.querySelector('svg.' + name);
    // The picture as it was written, with its native tooltips, for saving.
    var original = svg.cloneNode(true);
    svg.querySelectorAll('.panel title').forEach(function (title) { title.remove(); });
    svg.setAttribute('role', 'group');
    svg.setAttribute('tabindex', '0');
    svg.setAttribute('aria-label', data.title + '. Left and right arrow keys read the values.');
    var frames = data.layouts[name];
    frames.forEach(function (frame) {
      // Above all marks, so that the whole plot answers to the pointer.
      draw(svg, 'rect', { x: frame.plot[0], y: frame.plot[1], width: frame.plot[2], height: frame.plot[3], fill: 'transparent', 'class': 'hit' });
    });
    return { name: name, svg: svg, frames: frames, original: original, overlay: draw(svg, 'g', { 'class': 'overlay' }) };
  });

  function clear() {
    at = null;
    tip.hidden = true;
    views.forEach(function (view) { view.overlay.replaceChildren(); });
  }

  function row(series, point) {
    var line = make(tip, 'div', 'row');
    make(line, 'i', series['class']);
    make(line, 'span').textContent = series.name;
    var value = series.kind === 'band' ? show(point[1], series.format) + ' – ' + show(point[2], series.format) : show(point[1], series.format);
    var note = series.kind === 'band' ? null : point[2];
    make(line, 'em').textContent = value + (note ? ' (' + note + ')' : '');
    return series.name + ' ' + value + (note ? ' ' + note : '');
  }

  // Values at x of all panels, or of one of them where there is little room.
  function readOut(x, only) {
    at = x;
    tip.replaceChildren();
    var axis = data.panels[0].x;
    var head = axis.title + ': ' + show(x, axis.format);
    make(tip, 'b').textContent = head;
    var spoken = [head];
    views.forEach(function (view) { view.overlay.replaceChildren(); });
    data.panels.forEach(function (panel, index) {
      var seen = panel.series.filter(function (series) {
        return !hidden.has(series.key) && series.values.has(x) && (only === undefined || only === index);
      });
      if (seen.length && data.panels.length > 1 && panel.title) { make(tip, 'div', 'head').textContent = panel.title; }
      seen.forEach(function (series) { spoken.push(row(series, series.values.get(x))); });
      views.forEach(function (view) {
        var frame = view.frames[index];
        var px = frame.plot[0] + share(frame.x, x) * frame.plot[2];
        draw(view.overlay, 'path', { d: 'M' + px + ' ' + frame.plot[1] + 'v' + frame.plot[3], 'class': 'cross' });
        seen.forEach(function (series) {
          if (series.kind !== 'line') { return; }
          var y = frame.plot[1] + (1 - share(series.right ? frame.y2 : frame.y, series.values.get(x)[1])) * frame.plot[3];
          draw(view.overlay, 'circle', { cx: px, cy: y, r: 5.5, 'class': 'dot ' + series['class'] });
        });
      });
    });
    tip.hidden = false;
    live.textContent = spoken.join(', ');
  }

  function visible() { return views.find(function (view) { return view.svg.getClientRects().length; }) || views[0]; }

  // Beside the crosshair, on the side that has room.
  function placeTip(view, index) {
    var frame = view.frames[index];
    var box = view.svg.getBoundingClientRect();
    var outer = figure.getBoundingClientRect();
    var zoom = box.width / view.svg.viewBox.baseVal.width;
    var x = box.left - outer.left + (frame.plot[0] + share(frame.x, at) * frame.plot[2]) * zoom;
    var left = x + 16;
    if (left + tip.offsetWidth > outer.width - 4) { left = x - 16 - tip.offsetWidth; }
    tip.style.left = Math.max(4, left) + 'px';
    tip.style.top = (box.top - outer.top + frame.plot[1] * zoom + 6) + 'px';
  }

  function nearest(view, index, clientX) {
    var frame = view.frames[index];
    var box = view.svg.getBoundingClientRect();
    var px = (clientX - box.left) * view.svg.viewBox.baseVal.width / box.width;
    var best = xs[0], least = Infinity;
    xs.forEach(function (x) {
      var far = Math.abs(frame.plot[0] + share(frame.x, x) * frame.plot[2] - px);
      if (far < least) { least = far; best = x; }
    });
    return best;
  }

  views.forEach(function (view) {
    var under = 0;
    view.svg.querySelectorAll('.hit').forEach(function (hit, index) {
      function point(event) {
        under = index;
        readOut(nearest(view, index, event.clientX), view.name === 'narrow' ? index : undefined);
        placeTip(view, index);
      }
      hit.addEventListener('pointermove', point);
      hit.addEventListener('pointerdown', point);
      hit.addEventListener('pointerleave', function (event) { if (event.pointerType === 'mouse') { clear(); } });
    });
    view.svg.addEventListener('keydown', function (event) {
      var now = at === null ? -1 : xs.indexOf(at);
      var next = { ArrowRight: now + 1, ArrowLeft: now < 0 ? xs.length - 1 : now - 1, Home: 0, End: xs.length - 1 }[event.key];
      if (event.key === 'Escape') { clear(); return; }
      if (next === undefined || event.target !== view.svg) { return; }
      event.preventDefault();
      readOut(xs[Math.min(Math.max(next, 0), xs.length - 1)]);
      placeTip(view, under);
    });
    view.svg.addEventListener('blur', clear);
    view.svg.querySelectorAll('.key').forEach(function (key) {
      var name = key.getAttribute('data-key');
      key.setAttribute('role', 'button');
      key.setAttribute('tabindex', '0');
      key.setAttribute('aria-pressed', 'true');
      key.setAttribute('aria-label', key.textContent.trim());
      key.addEventListener('click', function () { toggle(name); });
      key.addEventListener('keydown', function (event) {
        if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); toggle(name); }
      });
    });
  });

  function toggle(name) {
    if (!hidden.delete(name)) { hidden.add(name); }
    var off = hidden.has(name);
    figure.querySelectorAll('[data-key]').forEach(function (node) {
      if (node.getAttribute('data-key') !== name) { return; }
      node.classList.toggle('off', off);
      if (node.hasAttribute('aria-pressed')) { node.setAttribute('aria-pressed', String(!off)); }
    });
    if (at !== null) { readOut(at); }
  }

  // The whole picture without hidden series, in the colours for light paper.
  function picture() {
    var svg = views[0].original.cloneNode(true);
    svg.querySelectorAll('[data-key]').forEach(function (node) {
      if (hidden.has(node.getAttribute('data-key'))) { node.remove(); }
    });
    return new Blob(['<?xml version="1.0" encoding="UTF-8"?>\n', new XMLSerializer().serializeToString(svg)], { type: 'image/svg+xml' });
  }
  function save(blob, extension) {
    var link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = data.stem + extension;
    link.click();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 60000);
  }
  var tools = document.querySelector('.tools');
  tools.hidden = false;
  document.getElementById('save-svg').addEventListener('click', function () { save(picture(), '.svg'); });
  document.getElementById('save-png').addEventListener('click', function () {
    var url = URL.createObjectURL(picture());
    var image = new Image();
    image.onload = function () {
      var size = views[0].svg.viewBox.baseVal;
      var canvas = document.createElement('canvas');
      canvas.width = size.width * 2;
      canvas.height = size.height * 2;
      canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob(function (blob) { save(blob, '.png'); URL.revokeObjectURL(url); }, 'image/png');
    };
    image.src = url;
  });
}());
/*]]>*/
