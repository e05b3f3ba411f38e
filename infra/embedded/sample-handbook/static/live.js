/** Keeps the dials of the live page up to date; without it the page shows the reading of when it was opened. */

const show = (id, text) => {
  document.getElementById(id).textContent = text
}
const source = new EventSource('live/events')
let received = 0
source.addEventListener('open', () => show('state', 'connected'))
source.addEventListener('error', () => show('state', 'reconnecting'))
source.addEventListener('reading', event => {
  const reading = JSON.parse(event.data)
  received += 1
  show('received', received)
  show('count', reading.count)
  show('clock', reading.time.slice(11, 19))
  show('temperature', `${reading.temperature.toFixed(1)} °C`)
  show('pressure', `${reading.pressure.toFixed(1)} hPa`)
  show('wind', `${reading.wind.toFixed(1)} m/s`)
})
