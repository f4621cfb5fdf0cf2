package embedpg

const hasDeathSignal = true
