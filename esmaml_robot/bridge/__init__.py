"""The link to a controller: messages, frames, the serial port, and a robot behind it."""
