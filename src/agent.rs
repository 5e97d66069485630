//! Where the limbs meet: one loop, one closed list of inputs, effects performed in order.
