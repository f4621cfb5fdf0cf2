// The operations, past the page: for what would take long by hand.
export function server(origin) {
  const post = async (operation, request, token) => {
    const answer = await fetch(new URL('/v1/' + operation, origin), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...(token ? { Authorization: 'Bearer ' + token } : {}) },
      body: JSON.stringify(request),
    })
    const body = await answer.json()
    if (!answer.ok) throw new Error(`${operation}: ${answer.status} ${JSON.stringify(body)}`)
    return body
  }
  return {
    post,
    /** Makes an account, with the password that Person uses, and returns its token. */
    async account(user, display_name) {
      return (await post('register', { user, password: user + '-secret', display_name })).access_token
    },
    /** Sends many from one to another, in order, some at once. */
    async send(token, requests, atOnce = 16) {
      let next = 0
      const work = async () => {
        while (next < requests.length) await post('send', requests[next++], token)
      }
      await Promise.all(Array.from({ length: atOnce }, work))
    },
  }
}
