// Nothing is set: the test wants what people get by default.
export default {};
