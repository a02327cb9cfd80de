// One request to the server, and the events that it streams back.

export async function* ask(request, signal) {
  const body = JSON.stringify(request)
  const headers = { 'Content-Type': 'application/json' }
  const response = await fetch('work', { method: 'POST', headers, body, signal })
  if (!response.ok) throw new Error(await reason(response))
  let text = ''
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) throw new Error('The connection was lost: try again.')
    const parts = (text + value).split('\n\n')
    text = parts.pop()
    for (const part of parts) {
      const event = JSON.parse(part.slice('data: '.length))
      if (event.error) throw new Error(event.error)
      if (event.end) return
      yield event
    }
  }
}

async function reason(response) {
  try {
    return (await response.json()).error
  } catch {
    return response.status === 503 ? 'Too many visitors: try again in a moment.' : 'The server does not answer.'
  }
}

export function loaded(url) {
  return new Promise((resolve, reject) => {
    const image = new Image()
    image.onload = () => resolve(image)
    image.onerror = () => reject(new Error('A picture did not arrive whole: try again.'))
    image.src = url
  })
}
