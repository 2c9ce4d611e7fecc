// Structures that can be turned, on a canvas in a dialog of the page. It loads nothing and needs no other file.
//
// Every element of class "structure" holds a link to an extended XYZ file inside the page, and the positions of its free atoms,
// put together across periodic boundaries. Lengths are in Å, x to the right, y up, z towards the reader before a turn.
'use strict';
(() => {
  const BOND_RADIUS = 0.13;
  const MOST_ATOMS = 6000;
  const N_FADES = 8;
  const WIDEST = 24;
  const SPRITE = 160;
  const VIEWS = {
    top: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    front: [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
    side: [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
  };
  const byId = (id) => document.getElementById(id);
  const [dialog, canvas, status] = [byId('viewer'), byId('viewer-canvas'), byId('viewer-status')];
  const holders = [...document.querySelectorAll('.structure')];
  const context = canvas && canvas.getContext && canvas.getContext('2d');
  if (!context || !dialog.showModal) return;
  const { elements, bondFactor } = JSON.parse(byId('viewer-data').textContent);
  const controls = Object.fromEntries(['images', 'bonds', 'cell', 'size'].map((name) => [name, byId('viewer-' + name)]));

  const add = (a, b) => a.map((u, k) => u + b[k]);
  const scaled = (s, a) => a.map((u) => s * u);
  const norm = (a) => Math.hypot(...a);
  const apply = (matrix, a) => matrix.map((row) => row[0] * a[0] + row[1] * a[1] + row[2] * a[2]);
  const product = (a, b) => a.map((row) => [0, 1, 2].map((k) => row[0] * b[0][k] + row[1] * b[1][k] + row[2] * b[2][k]));

  // The structure of a holder: species, positions, lattice vectors (or none), periodic axes, number of template atoms.
  function read(holder) {
    const base64 = holder.querySelector('a[download]').href.split(',')[1];
    const [count, comment, ...lines] = atob(base64).split('\n');
    const atoms = lines.slice(0, Number(count)).map((line) => line.trim().split(/\s+/));
    const numbers = (/Lattice="([^"]*)"/.exec(comment) || ['', ''])[1].split(/\s+/).map(Number);
    const lattice = numbers.length === 9 ? [0, 3, 6].map((k) => numbers.slice(k, k + 3)) : null;
    const periodic = (/pbc="([^"]*)"/.exec(comment) || ['', 'F F F'])[1].split(' ').map((flag) => flag === 'T');
    const free = holder.dataset.free.split(' ').filter(Boolean).map((text) => text.split(',').map(Number));
    const nTemplate = atoms.length - free.length;
    const positions = atoms.slice(0, nTemplate).map((words) => words.slice(1, 4).map(Number)).concat(free);
    return { species: atoms.map((words) => words[0]), positions, lattice, periodic, nTemplate };
  }

  // The atoms to draw. Copies along periodic axes belong to the template's plane, or to all axes without a template.
  function build(structure, withImages) {
    const { species, positions, lattice, periodic, nTemplate } = structure;
    const isPeriodic = (axis) => lattice && periodic[axis] && (axis < 2 || nTemplate === 0);
    const n = positions.length;
    let shifts = [[0, 0, 0]];
    for (const axis of withImages ? [0, 1, 2].filter(isPeriodic) : []) {
      const more = [-1, 1].flatMap((k) => shifts.map((shift) => add(shift, scaled(k, lattice[axis]))));
      if (n * (shifts.length + more.length) <= MOST_ATOMS) shifts = shifts.concat(more);
    }
    const atoms = shifts.flatMap((shift, copy) => positions.map((position, k) => (
      { at: add(position, shift), species: species[k], index: k, isFree: k >= nTemplate && copy === 0 })));
    const middleOf = (list) => scaled(1 / Math.max(list.length, 1), list.reduce(add, [0, 0, 0]));
    const centre = middleOf(nTemplate < n ? positions.slice(nTemplate) : positions);
    const width = [0, 1, 2].filter(isPeriodic).map((axis) => norm(lattice[axis]));
    const far = Math.max(...positions.map((position) => norm(add(position, scaled(-1, centre)))));
    const reach = width.length ? Math.min(Math.max(...width), WIDEST) / 2 : far;
    return { atoms, bonds: bondsOf(atoms), edges: edgesOf(lattice), centre, reach: reach + 1.5 };
  }

  // Pairs of atoms within the sum of their radii times the factor, from a grid of boxes as wide as the longest bond.
  function bondsOf(atoms) {
    const radius = (atom) => elements[atom.species].radius;
    const longest = 2 * bondFactor * Math.max(...atoms.map(radius));
    const boxes = new Map();
    const boxOf = (at) => at.map((u) => Math.floor(u / longest));
    atoms.forEach((atom, k) => {
      const key = boxOf(atom.at).join();
      if (!boxes.has(key)) boxes.set(key, []);
      boxes.get(key).push(k);
    });
    const bonds = [];
    atoms.forEach((atom, i) => {
      const [x, y, z] = boxOf(atom.at);
      for (let box = 0; box < 27; box += 1) {
        const key = [x + box % 3 - 1, y + Math.floor(box / 3) % 3 - 1, z + Math.floor(box / 9) - 1].join();
        for (const j of boxes.get(key) || []) {
          if (j <= i) continue;
          const length = norm(add(atoms[j].at, scaled(-1, atom.at)));
          if (length > 0.1 && length < bondFactor * (radius(atom) + radius(atoms[j]))) bonds.push([i, j]);
        }
      }
    });
    return bonds;
  }

  // The twelve edges of the cell in short pieces, so that atoms in front hide them.
  function edgesOf(lattice) {
    const pieces = [];
    if (!lattice || lattice.some((vector) => norm(vector) === 0)) return pieces;
    for (let axis = 0; axis < 3; axis += 1) {
      const [other, third] = [lattice[(axis + 1) % 3], lattice[(axis + 2) % 3]];
      for (const start of [[0, 0, 0], other, third, add(other, third)]) {
        const point = (k) => add(start, scaled(k / 12, lattice[axis]));
        for (let k = 0; k < 12; k += 1) pieces.push([point(k), point(k + 1)]);
      }
    }
    return pieces;
  }

  const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
  const mix = (a, b, share) => a.map((u, k) => Math.round(u + share * (b[k] - u)));
  const css = (colour) => `rgb(${colour.join()})`;
  let [paper, ink, soft] = [[255, 255, 255], [0, 0, 0], [90, 90, 90]];
  // Balls and the colours of bonds, made when they are first needed.
  const sprites = new Map();

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    [paper, ink, soft] = ['--card', '--ink', '--soft'].map((name) => rgb(style.getPropertyValue(name).trim()));
    sprites.clear();
  }

  // A shaded ball of an element, `fade` of N_FADES towards the paper; with a rim if it is a free atom.
  function sprite(species, fade, isFree) {
    const key = `${species} ${fade} ${isFree}`;
    if (sprites.has(key)) return sprites.get(key);
    const ball = document.createElement('canvas');
    ball.width = ball.height = SPRITE;
    const [pen, r] = [ball.getContext('2d'), SPRITE / 2];
    const base = rgb(elements[species].colour);
    const shading = pen.createRadialGradient(0.72 * r, 0.6 * r, 0, 0.72 * r, 0.6 * r, 1.5 * r);
    [[0, mix(base, [255, 255, 255], 0.75)], [0.4, base], [1, mix(base, [0, 0, 0], 0.45)]].forEach(([offset, colour]) => (
      shading.addColorStop(offset, css(mix(colour, paper, fade / N_FADES)))));
    pen.fillStyle = shading;
    pen.beginPath();
    pen.arc(r, r, r - 3, 0, 2 * Math.PI);
    pen.fill();
    pen.strokeStyle = css(isFree ? ink : mix(soft, paper, 0.3 + 0.6 * fade / N_FADES));
    pen.lineWidth = isFree ? 5 : 2;
    pen.stroke();
    sprites.set(key, ball);
    return ball;
  }

  let [current, structure, scene, turn, zoom, pan, shown, picked, isDue] = [0, null, null, VIEWS.top, 1, [0, 0], [], [], false];

  function measure() {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const pixels = window.devicePixelRatio || 1;
    const [across, down] = [Math.round(width * pixels), Math.round(height * pixels)];
    if (canvas.width !== across || canvas.height !== down) [canvas.width, canvas.height] = [across, down];
    context.setTransform(pixels, 0, 0, pixels, 0, 0);
    return [width, height, zoom * Math.min(width, height) / (2 * scene.reach)];
  }

  function draw() {
    isDue = false;
    if (!dialog.open) return;
    const [width, height, unit] = measure();
    const project = (at) => {
      const [x, y, z] = apply(turn, add(at, scaled(-1, scene.centre)));
      return [width / 2 + pan[0] + x * unit, height / 2 + pan[1] - y * unit, z];
    };
    const size = Number(controls.size.value) / 100;
    const radius = (atom) => size * elements[atom.species].radius;
    const places = scene.atoms.map((atom) => project(atom.at));
    const inside = ([x, y]) => x > -100 && y > -100 && x < width + 100 && y < height + 100;
    const depths = places.filter(inside).map((place) => place[2]);
    const [back, front] = [Math.min(...depths), Math.max(...depths)];
    const fade = (z, isFree) => Math.round((isFree ? 0 : 3) + 4 * Math.min(Math.max((front - z) / Math.max(front - back, 6), 0), 1));
    const items = [];
    shown = [];
    scene.atoms.forEach((atom, k) => {
      if (!inside(places[k])) return;
      const [x, y, z] = places[k];
      const r = radius(atom) * unit;
      shown.push({ atom, x, y, z, r });
      items.push([z, () => {
        context.drawImage(sprite(atom.species, fade(z, atom.isFree), atom.isFree), x - r, y - r, 2 * r, 2 * r);
        if (picked.includes(atom)) circle(x, y, r + 2);
      }]);
    });
    if (controls.bonds.checked) {
      scene.bonds.filter(([i, j]) => inside(places[i]) || inside(places[j])).forEach(([i, j]) => (
        items.push(...halves(scene.atoms, places, i, j, radius, unit, fade))));
    }
    if (controls.cell.checked) {
      scene.edges.forEach((ends) => {
        const [from, to] = ends.map(project);
        items.push([(from[2] + to[2]) / 2, () => line(from, to, 1, css(soft))]);
      });
    }
    context.clearRect(0, 0, width, height);
    items.sort((a, b) => a[0] - b[0]).forEach((item) => item[1]());
    tripod(height);
  }

  function line(from, to, width, colour) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.beginPath();
    context.moveTo(from[0], from[1]);
    context.lineTo(to[0], to[1]);
    context.stroke();
  }

  function circle(x, y, r) {
    context.lineWidth = 2.5;
    context.strokeStyle = '#d55e00';
    context.beginPath();
    context.arc(x, y, r, 0, 2 * Math.PI);
    context.stroke();
  }

  // A bond as two half cylinders in the colours of their atoms, each from its ball's surface to the middle.
  function halves(atoms, places, i, j, radius, unit, fade) {
    const length = norm(add(atoms[j].at, scaled(-1, atoms[i].at)));
    const thickness = 2 * BOND_RADIUS * unit;
    return [[i, j], [j, i]].flatMap(([a, b]) => {
      const start = Math.sqrt(Math.max(radius(atoms[a]) ** 2 - BOND_RADIUS ** 2, 0)) / length;
      if (start >= 0.5) return [];
      const point = (share) => places[a].map((u, k) => u + share * (places[b][k] - u));
      const [from, to] = [point(0.97 * start), point(0.5)];
      const [rim, body] = stickColours(atoms[a].species, fade(places[a][2], atoms[a].isFree && atoms[b].isFree));
      return [[(from[2] + to[2]) / 2, () => {
        line(from, to, thickness, rim);
        line(from, to, 0.65 * thickness, body);
      }]];
    });
  }

  function stickColours(species, fade) {
    const key = `stick ${species} ${fade}`;
    if (!sprites.has(key)) {
      const shade = (colour, share) => css(mix(mix(rgb(elements[species].colour), colour, share), paper, fade / N_FADES));
      sprites.set(key, [shade([0, 0, 0], 0.5), shade([255, 255, 255], 0.2)]);
    }
    return sprites.get(key);
  }

  // The directions x, y, z in the lower left corner.
  function tripod(height) {
    context.font = '12px system-ui, sans-serif';
    context.fillStyle = css(ink);
    [...'xyz'].forEach((name, axis) => {
      const [right, up] = [turn[0][axis], turn[1][axis]];
      line([34, height - 34], [34 + 20 * right, height - 34 - 20 * up], 2, css(soft));
      if (Math.hypot(right, up) > 0.2) context.fillText(name, 31 + 28 * right, height - 30 - 28 * up);
    });
  }

  function redraw() {
    if (!isDue) requestAnimationFrame(draw);
    isDue = true;
  }

  function rotate(right, up) {
    const [c, s, d, t] = [Math.cos(right), Math.sin(right), Math.cos(up), Math.sin(up)];
    turn = product(product([[1, 0, 0], [0, d, -t], [0, t, d]], [[c, 0, s], [0, 1, 0], [-s, 0, c]]), turn);
    redraw();
  }

  function magnify(factor) {
    zoom = Math.min(Math.max(zoom * factor, 0.1), 20);
    redraw();
  }

  function look(view) {
    [turn, pan] = [VIEWS[view], [0, 0]];
    redraw();
  }

  function rebuild() {
    scene = build(structure, controls.images.checked);
    picked = [];
    status.textContent = '';
    redraw();
  }

  function show(number) {
    current = (number + holders.length) % holders.length;
    const holder = holders[current];
    structure = read(holder);
    const source = holder.querySelector('a[download]');
    const link = byId('viewer-file');
    [link.href, link.download, link.textContent] = [source.href, source.download, source.download];
    byId('viewer-title').textContent = holder.dataset.title;
    canvas.setAttribute('aria-label', holder.dataset.title);
    controls.images.disabled = !(structure.lattice && structure.periodic.includes(true));
    controls.cell.disabled = edgesOf(structure.lattice).length === 0;
    rebuild();
  }

  function reset() {
    zoom = 1;
    look('top');
  }

  function open(number) {
    readColours();
    if (!dialog.open) dialog.showModal();
    show(number);
    reset();
    canvas.focus();
  }

  const under = (x, y) => shown.filter((ball) => Math.hypot(ball.x - x, ball.y - y) < ball.r).sort((a, b) => b.z - a.z)[0];
  const kind = (atom) => (atom.index >= structure.nTemplate ? 'free' : 'template');
  const describe = (atom) => `${atom.species} (atom ${atom.index + 1}, ${kind(atom)}) at ${atom.at.map((u) => u.toFixed(2)).join(', ')} Å`;

  // A click picks an atom; two picked atoms show their distance.
  function pick(x, y) {
    const ball = under(x, y);
    picked = ball ? [...picked.filter((atom) => atom !== ball.atom).slice(-1), ball.atom] : [];
    const distance = () => norm(add(picked[0].at, scaled(-1, picked[1].at))).toFixed(3);
    const names = picked.map((atom) => `${atom.species} ${atom.index + 1}`);
    status.textContent = picked.length === 2 ? `${names.join(' – ')}: ${distance()} Å` : picked.map(describe).join();
    redraw();
  }

  // Fingers and buttons that are down, by their identifier.
  const down = new Map();
  let moved = 0;
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, [event.offsetX, event.offsetY]);
    moved = 0;
  });
  canvas.addEventListener('pointermove', (event) => {
    const [x, y] = [event.offsetX, event.offsetY];
    const before = down.get(event.pointerId);
    if (!before) {
      const ball = picked.length ? null : under(x, y);
      if (!picked.length) status.textContent = ball ? describe(ball.atom) : '';
      return;
    }
    const [dx, dy] = [x - before[0], y - before[1]];
    moved += Math.abs(dx) + Math.abs(dy);
    const other = [...down].find(([id]) => id !== event.pointerId);
    down.set(event.pointerId, [x, y]);
    if (other) {
      const spread = ([u, v]) => Math.max(Math.hypot(other[1][0] - u, other[1][1] - v), 1);
      pan = add(pan, [dx / 2, dy / 2]);
      magnify(spread([x, y]) / spread(before));
    } else if (event.shiftKey || event.buttons === 2 || event.buttons === 4) {
      pan = add(pan, [dx, dy]);
      redraw();
    } else {
      rotate(dx / 120, dy / 120);
    }
  });
  canvas.addEventListener('pointerup', (event) => {
    if (down.delete(event.pointerId) && moved < 4) pick(event.offsetX, event.offsetY);
  });
  canvas.addEventListener('pointercancel', (event) => down.delete(event.pointerId));
  canvas.addEventListener('contextmenu', (event) => event.preventDefault());
  canvas.addEventListener('wheel', (event) => {
    event.preventDefault();
    magnify(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.04 : 0.0015)));
  }, { passive: false });

  const actions = {
    top: () => look('top'),
    front: () => look('front'),
    side: () => look('side'),
    larger: () => magnify(1.25),
    smaller: () => magnify(0.8),
    reset,
    previous: () => show(current - 1),
    next: () => show(current + 1),
    close: () => dialog.close(),
  };
  const keys = {
    ArrowLeft: () => rotate(-0.1, 0), ArrowRight: () => rotate(0.1, 0),
    ArrowUp: () => rotate(0, -0.1), ArrowDown: () => rotate(0, 0.1),
    '+': actions.larger, '=': actions.larger, '-': actions.smaller,
    0: actions.reset, t: actions.top, f: actions.front, s: actions.side,
    PageUp: actions.previous, PageDown: actions.next,
  };
  canvas.addEventListener('keydown', (event) => {
    const action = event.ctrlKey || event.metaKey || event.altKey ? null : keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  dialog.addEventListener('click', (event) => {
    const button = event.target.closest('button[data-action]');
    if (button) actions[button.dataset.action]();
    else if (event.target === dialog) dialog.close();
  });
  controls.images.addEventListener('change', rebuild);
  for (const name of ['bonds', 'cell', 'size']) controls[name].addEventListener('input', redraw);
  window.addEventListener('resize', redraw);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readColours(); redraw(); });

  holders.forEach((holder, number) => {
    const button = holder.querySelector('button');
    button.hidden = false;
    holder.classList.add('turnable');
    button.addEventListener('click', () => open(number));
    holder.querySelectorAll('svg').forEach((picture) => picture.addEventListener('click', () => open(number)));
  });
})();
