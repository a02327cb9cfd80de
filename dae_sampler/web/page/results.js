// What comes back: the figures, the film of the steps, and what is kept of them.

import { loaded } from './wire.js'

const PICTURES = ['damaged', 'state', 'guess', 'result', 'field']
const $ = (id) => document.getElementById(id)

export class Results {
  constructor(use) {
    this.clear()
    $('frame').addEventListener('input', () => { this.pause(); this.show() })
    $('play').addEventListener('click', () => (this.timer ? this.pause() : this.play()))
    $('use').addEventListener('click', () => use(this.tiles[this.chosen].canvas))
    $('save').addEventListener('click', () => save(this.tiles[this.chosen].canvas.toDataURL(), this.name('png')))
    $('save-all').addEventListener('click', () => save(this.result.url, this.name('png', '-all')))
    $('save-film').addEventListener('click', () => save(this.result.film, this.name('gif')))
  }

  clear() {
    this.pause()
    this.frames = []
    this.before = this.result = this.asked = null
    this.n = 1
    this.tiles = []
    this.chosen = 0
    $('progress').hidden = true
    $('status').textContent = ''
    for (const id of ['error', 'film', 'keep']) $(id).hidden = true
    $('notes').replaceChildren()
    $('figures').replaceChildren()
  }

  begin(asked) {
    this.clear()
    this.asked = asked
    this.n = asked.n || 1
    if (asked.task !== 'damage') $('status').textContent = 'Waiting for a turn …'
  }

  async take(told, asked) { // an event, whose pictures have to be decoded first
    const pictures = Object.fromEntries(await Promise.all(PICTURES.filter((name) => told[name]).map(
      async (name) => [name, await loaded(told[name])])))
    if (asked !== this.asked) return // something else has been asked for meanwhile
    if ($('status').textContent.startsWith('Waiting')) $('status').textContent = 'Working …'
    if (told.notes) this.note(told.notes)
    if (told.field) this.takeField(told, pictures)
    else if (told.damaged) this.takeBefore(pictures.damaged)
    if (told.step) this.takeStep(told, pictures)
    if (told.result) this.takeResult(told, pictures.result)
  }

  takeBefore(image) {
    const { task, damage } = this.asked
    this.before = { title: task === 'inpaint' ? 'Hidden in grey' : damage ? 'Damaged' : 'Picture', image }
    this.draw([])
  }

  takeField({ field, most }, pictures) {
    const title = this.asked.damage ? `With noise, σ = ${this.asked.level}` : 'Picture x'
    this.draw([{ title, image: pictures.damaged }, { title: 'Reconstruction r(x)', image: pictures.guess },
      { title: 'Score (r − x) / σ²', image: pictures.field }])
    const scale = document.createElement('div')
    scale.className = 'scale'
    const ends = [-most, most].map((value) => Object.assign(document.createElement('span'), {
      textContent: `${value > 0 ? '+' : '−'}${Math.abs(Number(value.toPrecision(2)))}` }))
    scale.append(ends[0], document.createElement('i'), ends[1])
    $('figures').lastElementChild.append(scale)
    this.keep(pictures.field, field)
  }

  takeStep({ step, steps, level, columns, state }, pictures) {
    $('progress').hidden = false
    $('progress').max = steps
    $('progress').value = step
    $('status').textContent = `Step ${step} of ${steps}`
    if (!state) return
    this.frames.push({ step, steps, level, columns, ...pictures })
    this.reach(this.frames.length - 1)
    $('film').hidden = this.frames.length < 2
  }

  takeResult({ result, by, columns, psnr, film }, image) {
    this.result = { url: result, film, image, columns }
    this.reach(this.frames.length)
    const gain = psnr ? `, PSNR ${psnr[0].toFixed(1)} → ${psnr[1].toFixed(1)} dB` : ''
    const { label, guidance } = this.asked
    const told = label ? `, told the label ${label}${guidance === null ? '' : ` with guidance ${guidance}`}` : ''
    $('status').textContent = `Done by ${by}${told}${gain}`
    $('keep').hidden = $('use').hidden = false
    $('save-all').hidden = this.n === 1
    $('save-film').hidden = !film
  }

  keep(image, url) { // one image that can be downloaded and nothing more
    this.result = { url }
    this.tiles = [{ canvas: cut(image) }]
    $('keep').hidden = false
    $('use').hidden = $('save-all').hidden = $('save-film').hidden = true
    $('status').textContent = ''
  }

  reach(last) { // the film has grown, and shows its end
    $('frame').max = last
    $('frame').value = last
    this.show()
  }

  show() { // the frame that the slider is at
    const at = Number($('frame').value)
    const frame = this.frames[Math.min(at, this.frames.length - 1)]
    const { n } = this
    if (at < this.frames.length) {
      const title = `Step ${frame.step} of ${frame.steps}`
      this.draw([{ title, image: frame.state, n, columns: frame.columns },
        { title: 'Best guess so far', image: frame.guess, n, columns: frame.columns }])
      $('at').textContent = `step ${frame.step}, level ${Number(frame.level.toPrecision(2))}`
    } else {
      $('at').textContent = 'result'
      this.draw([{ title: n > 1 ? 'Results' : 'Result', ...this.result, n, choose: n > 1 }], true)
    }
  }

  draw(figures, last = false) { // the last of them holds what can be kept
    const made = (this.before ? [this.before, ...figures] : figures).map((figure) => this.figure(figure))
    if (last) this.tiles = made.at(-1).tiles
    $('figures').replaceChildren(...made.map(({ figure }) => figure))
  }

  figure({ title, image, n = 1, columns = 1, choose }) {
    const figure = Object.assign(document.createElement('figure'), { className: n > 1 ? 'many' : '' })
    const caption = Object.assign(document.createElement('figcaption'), { textContent: title })
    const grid = Object.assign(document.createElement('div'), { className: 'tiles' })
    grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`
    const tiles = Array.from({ length: n }, (_, i) => ({ canvas: cut(image, i, n, columns) }))
    for (const [i, tile] of tiles.entries()) grid.append(choose ? this.choice(tile, i) : tile.canvas)
    grid.setAttribute('role', choose ? 'group' : 'img')
    grid.setAttribute('aria-label', title)
    figure.append(caption, grid)
    return { figure, tiles }
  }

  choice(tile, i) {
    tile.button = Object.assign(document.createElement('button'), { type: 'button' })
    tile.button.setAttribute('aria-label', `Image ${i + 1}`)
    tile.button.setAttribute('aria-pressed', i === this.chosen)
    tile.button.append(tile.canvas)
    tile.button.addEventListener('click', () => {
      this.chosen = i
      this.tiles.forEach((other, j) => other.button.setAttribute('aria-pressed', i === j))
    })
    return tile.button
  }

  play() {
    if (Number($('frame').value) >= this.frames.length) $('frame').value = 0
    const pace = Math.max(60, 4000 / this.frames.length)
    $('play').textContent = '❚❚'
    this.timer = setInterval(() => {
      $('frame').value = Number($('frame').value) + 1
      this.show()
      if ($('frame').value === $('frame').max) this.pause()
    }, pace)
  }

  pause() {
    clearInterval(this.timer)
    this.timer = null
    $('play').textContent = '▶'
  }

  note(notes) {
    for (const note of notes) $('notes').append(Object.assign(document.createElement('li'), { textContent: note }))
  }

  stopped() {
    const { hidden, value, max } = $('progress')
    $('status').textContent = hidden ? 'Stopped' : `Stopped after step ${value} of ${max}`
  }

  fail(message) {
    $('status').textContent = ''
    $('error').textContent = message
    $('error').hidden = false
  }

  name(kind, more = '') {
    const { task, model, seed } = this.asked
    return `${model}-${task}-${seed}${more || (this.tiles.length > 1 && kind === 'png' ? `-${this.chosen + 1}` : '')}.${kind}`
  }
}

function cut(image, i = 0, n = 1, columns = 1) { // the i-th tile of a sheet
  const rows = Math.ceil(n / columns)
  const canvas = document.createElement('canvas')
  canvas.width = image.width / columns
  canvas.height = image.height / rows
  canvas.className = canvas.width < 200 ? 'small' : ''
  const [x, y] = [(i % columns) * canvas.width, Math.floor(i / columns) * canvas.height]
  canvas.getContext('2d').drawImage(image, -x, -y)
  return canvas
}

function save(url, name) {
  const link = Object.assign(document.createElement('a'), { href: url, download: name })
  link.click()
}
