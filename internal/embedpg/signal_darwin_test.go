package embedpg

const hasDeathSignal = false
