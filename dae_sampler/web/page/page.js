// The page: tabs and settings, requests, and the film of what comes back.

import { Editor } from './editor.js'
import { ask, loaded } from './wire.js'
import { Results } from './results.js'

const $ = (id) => document.getElementById(id)
const TABS = {
  restore: {
    go: 'Restore',
    lead: 'Draw or upload a picture and damage it. The model takes the damage away again, step by step.',
  },
  inpaint: {
    go: 'Fill in',
    lead: 'Hide a part of the picture. The model fills it with what goes with the rest, in several ways.',
  },
  sample: { go: 'Generate', lead: 'Begin with nothing but noise, and watch images come out of it.' },
  score: {
    go: 'Show the score field',
    lead: 'The score points to where pictures are likelier: orange pixels want to be brighter, blue ones darker.',
  },
}
const state = { models: [], model: null, tab: 'restore', running: null, preview: null, filling: null }
let waiting // for the next preview
const editor = new Editor($('picture'), $('mask'), $('cursor'), edited, () => state.filling?.abort())
const results = new Results((canvas) => {
  editor.put(canvas)
  if (state.tab === 'sample') choose('restore')
})

// --- settings

function choose(tab) {
  state.tab = tab
  history.replaceState(null, '', `#${tab}`)
  for (const button of document.querySelectorAll('[role=tab]')) {
    const here = button.dataset.tab === tab
    button.setAttribute('aria-selected', here)
    button.tabIndex = here ? 0 : -1
    if (here) $('main').setAttribute('aria-labelledby', button.id)
  }
  for (const part of document.querySelectorAll('[data-for]')) part.hidden = !part.dataset.for.split(' ').includes(tab)
  $('lead').textContent = TABS[tab].lead
  $('go').textContent = TABS[tab].go
  if (tab === 'inpaint') setBrush('hide')
  else if (editor.brush === 'hide' || editor.brush === 'show') setBrush('draw')
  $('mask').hidden = tab !== 'inpaint'
  $('n').max = tab === 'inpaint' ? 16 : 64
  drop()
  results.clear()
  describe()
}

function describe() { // what this model offers for this tab
  const { model, tab } = state
  const task = model[tab]
  $('why-not').hidden = !task.why_not
  $('why-not').textContent = task.why_not || ''
  $('works').hidden = Boolean(task.why_not)
  $('about').textContent = `${model.name}: ${model.about}.`
  $('size-field').hidden = tab !== 'sample' || Boolean(model.width)
  $('colour').hidden = model.width > 0 && model.channels === 1
  $('from-model').hidden = Boolean(model.sample.why_not)
  const options = (task.samplers || []).map((sampler) => new Option(sampler.name, sampler.name))
  $('sampler').replaceChildren(new Option(`usual: ${task.by}`, ''), ...options)
  sampled()
  damaged()
  labelled()
}

function sampled() {
  const task = state.model[state.tab]
  const sampler = (task.samplers || []).find((one) => one.name === $('sampler').value)
  $('steps').value = ''
  $('steps').placeholder = (sampler || task).steps ?? ''
}

function labelled() { // only a model with labels is told one, and only a label is followed
  const told = state.tab !== 'score' && state.model.labels.length > 0
  $('label-field').hidden = !told
  $('guidance-field').hidden = !told || !$('label').value
}

function setLabels() {
  const options = state.model.labels.map((label) => new Option(label, label))
  $('label').replaceChildren(new Option('any', ''), ...options)
}

function setDamages() {
  const { model } = state
  const options = model.damages.map((damage) => new Option(damage.name, damage.name))
  if (model.restore.denoises) options.push(new Option('none: it is damaged already', ''))
  $('damage').replaceChildren(...options)
}

function damaged() { // the levels of the damage chosen
  const { model, tab } = state
  const kind = tab === 'score' ? model.damages[0] : model.damages.find((one) => one.name === $('damage').value)
  $('level-field').hidden = !kind || (tab !== 'restore' && tab !== 'score')
  $('assumed').placeholder = kind?.own ? 'as damaged' : model.estimates ? 'estimated' : model.damages[0].usual
  if (!kind) return
  $('level-name').textContent = kind.name.startsWith('gaussian') ? 'Level σ' : 'Level'
  state.kind = kind
  $('level').min = kind.low
  $('level').max = kind.high
  const [fixed, level] = [kind.low === kind.high, Number($('level').value)]
  $('level').disabled = $('level-slider').disabled = fixed
  if (fixed || !(level >= kind.low && level <= kind.high) || !$('level').value) setLevel(kind.usual)
  else setLevel(level)
}

const curved = (kind) => kind.low > 0 && kind.high / kind.low > 100 // such levels are told apart by their ratio

const within = (level, kind) => Math.min(Math.max(Number(level.toPrecision(3)), kind.low), kind.high)

function setLevel(level) {
  const { kind } = state
  $('level').value = within(level, kind)
  const along = curved(kind)
    ? Math.log(level / kind.low) / Math.log(kind.high / kind.low)
    : (level - kind.low) / (kind.high - kind.low || 1)
  $('level-slider').value = Math.round(1000 * along)
}

function slid() {
  const { kind } = state
  const along = $('level-slider').value / 1000
  const level = curved(kind) ? kind.low * (kind.high / kind.low) ** along : kind.low + along * (kind.high - kind.low)
  $('level').value = within(level, kind)
  preview()
}

function setBrush(name) {
  editor.brush = name
  document.querySelector(`[name=brush][value=${name}]`).checked = true
}

function setModel(name) {
  const before = state.model
  state.model = state.models.find((model) => model.name === name)
  const { width, height } = state.model
  if (!before || width !== before.width || height !== before.height) {
    editor.resize(width || 128, height || 128)
    const side = editor.width
    $('brush-size').max = Math.max(4, side / 6)
    $('brush-size').value = editor.size = Math.max(1.2, side / 12)
  }
  setDamages()
  setLabels()
  choose(state.tab)
}

// --- requests

function request() {
  const number = (id) => ($(id).value === '' || !$(id).offsetParent ? null : Number($(id).value))
  const { tab } = state
  const of = (...tabs) => tabs.includes(tab)
  return {
    task: tab,
    model: state.model.name,
    seed: Number($('seed').value) || 0,
    picture: of('sample') ? '' : editor.pictureUrl(),
    mask: of('inpaint') ? editor.maskUrl() : '',
    damage: of('restore') ? $('damage').value : of('score') && $('noisy').checked ? state.kind.name : '',
    level: of('restore', 'score') ? number('level') : null,
    n: of('inpaint', 'sample') ? number('n') : null,
    width: number('width'),
    height: number('height'),
    sampler: of('score') ? null : $('sampler').value || null,
    label: of('score') ? null : $('label').value || null,
    guidance: number('guidance'),
    steps: of('score') || !$('steps').value ? null : Number($('steps').value),
    assumed: of('restore') && $('assumed').value ? Number($('assumed').value) : null,
  }
}

async function run(event) {
  event?.preventDefault()
  drop()
  const controller = (state.running = new AbortController())
  const asked = request()
  busy(true)
  results.begin(asked)
  if (matchMedia('(max-width: 52rem)').matches) $('results').scrollIntoView({ behavior: 'smooth' })
  try {
    for await (const told of ask(asked, controller.signal)) await results.take(told, asked)
  } catch (error) {
    if (error.name !== 'AbortError') results.fail(error.message)
    else if (state.running === controller) results.stopped()
  } finally {
    if (state.running === controller) {
      state.running = null
      busy(false)
    }
  }
}

function drop() { // what runs, without a word
  clearTimeout(waiting)
  for (const controller of [state.filling, state.preview, state.running]) controller?.abort()
  state.running = null
  busy(false)
}

function busy(is) {
  $('stop').disabled = !is
  $('results').setAttribute('aria-busy', is)
}

function preview() { // the damage, as soon as it is chosen
  clearTimeout(waiting)
  if (state.tab !== 'restore' || state.running || !$('damage').value) return
  waiting = setTimeout(async () => {
    state.preview?.abort()
    state.preview = new AbortController()
    const asked = { ...request(), task: 'damage' }
    try {
      results.begin(asked)
      for await (const told of ask(asked, state.preview.signal)) await results.take(told, asked)
    } catch (error) {
      if (error.name !== 'AbortError') results.fail(error.message)
    }
  }, 150)
}

function edited() {
  if (!state.model) return
  drop()
  preview()
}

async function open(file) { // an upload, as the model takes it
  if (!file) return
  try {
    drop()
    results.clear()
    const url = await new Promise((resolve, reject) => {
      const reader = new FileReader()
      reader.onload = () => resolve(reader.result.replace(/^data:[^,]*,/, 'data:;base64,'))
      reader.onerror = () => reject(new Error('This file cannot be read: choose another.'))
      reader.readAsDataURL(file)
    })
    if (url.length > 24e6) throw new Error('This file is too large: at most 18 MB fit.')
    const notes = []
    for await (const told of ask({ task: 'open', model: state.model.name, picture: url })) {
      notes.push(...told.notes)
      editor.put(await loaded(told.picture))
    }
    results.note(notes)
  } catch (error) {
    results.fail(error.message)
  }
}

async function fromModel() { // a picture that the model makes, unless the visitor has one meanwhile
  drop()
  const controller = (state.filling = new AbortController())
  const seed = Math.floor(Math.random() * 1e9)
  const size = state.model.width ? {} : { width: 128, height: 128 }
  try {
    for await (const told of ask({ task: 'sample', model: state.model.name, n: 1, seed, ...size }, controller.signal)) {
      const image = told.result && (await loaded(told.result))
      if (image && !controller.signal.aborted) editor.put(image)
    }
  } catch (error) {
    if (error.name !== 'AbortError') results.fail(error.message)
  }
}

// --- what is clicked

function bind() {
  const on = (id, kind, act) => $(id).addEventListener(kind, act)
  const tabs = [...document.querySelectorAll('[role=tab]')]
  tabs.forEach((tab, i) => {
    tab.addEventListener('click', () => choose(tab.dataset.tab))
    tab.addEventListener('keydown', (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
      if (!by) return
      const to = tabs[(i + by + tabs.length) % tabs.length]
      to.focus()
      to.click()
    })
  })
  on('model', 'change', () => setModel($('model').value))
  on('form', 'submit', run)
  on('stop', 'click', () => state.running?.abort())
  on('damage', 'change', () => { damaged(); preview() })
  on('level-slider', 'input', slid)
  on('level', 'change', () => { if ($('level').reportValidity()) setLevel(Number($('level').value)); preview() })
  on('seed', 'change', preview)
  on('dice', 'click', () => { $('seed').value = Math.floor(Math.random() * 1e6); preview() })
  on('sampler', 'change', sampled)
  on('label', 'change', labelled)
  for (const radio of document.querySelectorAll('[name=brush]')) {
    radio.addEventListener('change', () => { editor.brush = radio.value })
  }
  on('colour', 'input', () => { editor.colour = $('colour').value; setBrush('draw') })
  on('brush-size', 'input', () => { editor.size = Number($('brush-size').value) })
  for (const button of document.querySelectorAll('[data-half]')) {
    button.addEventListener('click', () => editor.hide(button.dataset.half))
  }
  on('undo', 'click', () => editor.undo())
  on('clear', 'click', () => editor.clear())
  on('invert', 'click', () => editor.invert())
  on('from-model', 'click', fromModel)
  on('file', 'change', () => { open($('file').files[0]); $('file').value = '' })
  for (const kind of ['dragover', 'dragleave', 'drop']) {
    on('drop', kind, (event) => {
      event.preventDefault()
      $('drop').classList.toggle('over', kind === 'dragover')
      if (kind === 'drop') open(event.dataTransfer.files[0])
    })
  }
  addEventListener('paste', (event) => open(event.clipboardData.files[0]))
  addEventListener('keydown', (event) => {
    if (event.key === 'z' && (event.ctrlKey || event.metaKey) && event.target.type !== 'number') editor.undo()
    if (event.key === 'Escape') state.running?.abort()
  })
  on('theme', 'click', () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === 'dark' ||
      (!localStorage.theme && matchMedia('(prefers-color-scheme: dark)').matches)
    localStorage.theme = document.documentElement.style.colorScheme = dark ? 'light' : 'dark'
  })
}

async function start() {
  if (localStorage.theme) document.documentElement.style.colorScheme = localStorage.theme
  const facts = await (await fetch('models')).json()
  state.models = facts.models
  $('seed').value = facts.seed
  $('model').replaceChildren(...facts.models.map((model) => new Option(model.name, model.name)))
  $('model').parentElement.hidden = facts.models.length === 1
  bind()
  if (TABS[location.hash.slice(1)]) state.tab = location.hash.slice(1)
  setModel(facts.models[0].name)
  if (!state.model.sample.why_not && state.tab !== 'sample') fromModel()
}

start().catch(() => results.fail('The server does not answer: load the page again.'))
