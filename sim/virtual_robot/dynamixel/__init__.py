"""Emulated DYNAMIXEL servos and sensors on a half-duplex bus, Protocol 2.0, with a simulated body behind them."""
