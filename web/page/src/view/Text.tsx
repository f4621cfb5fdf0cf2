// The body of a message: text, in which addresses of the web are links. Bodies
// never become HTML.
import type { ComponentChildren } from 'preact'

const address = /https?:\/\/[^\s<>"'“”‘’「」()]+/g

const punctuation = '.,;:!?)]}，。！？；：）'

/** The address without the punctuation of the sentence that it stands in. */
function trimmed(s: string): string {
  // No /[…]+$/: in a long row of dots that looks for the end from each of them.
  let end = s.length
  while (end > 0 && punctuation.includes(s[end - 1]!)) end--
  return s.slice(0, end)
}

export function Text({ body }: { body: string }) {
  const parts: ComponentChildren[] = []
  let from = 0
  for (const found of body.matchAll(address)) {
    const link = trimmed(found[0])
    if (!URL.canParse(link)) continue
    parts.push(
      body.slice(from, found.index),
      <a href={link} target="_blank" rel="noopener noreferrer nofollow">
        {link}
      </a>,
    )
    from = found.index + link.length
  }
  return (
    <div class="text" dir="auto">
      {parts}
      {body.slice(from)}
    </div>
  )
}
