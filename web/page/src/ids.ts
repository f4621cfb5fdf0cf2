// A name that nobody else has: crypto.randomUUID is not there without TLS.
export function unique(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('')
}
