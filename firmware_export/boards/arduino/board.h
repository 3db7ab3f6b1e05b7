/*
 * board.h - what a sketch needs of esmaml-robot: the controller's own loop, and helpers for usual sensors and motors.
 *
 * The sketch says which pins there are and gives two functions, hal_sense() and hal_actuate(); setup() calls begin()
 * last, loop() calls turn(). Nothing here waits but for begin() and the start of an episode, and a pin that is NOT_WIRED
 * is left alone by all of it.
 */
#ifndef ESMAML_BOARD_H
#define ESMAML_BOARD_H

#include <stdint.h>

/* ---- given by the sketch ---- */

extern "C" {

/* Latest counts of all sensors, in the order of the robot's file. */
void hal_sense(int32_t *sensors);

/* Applies counts, which are within their range. With torque_on 0 the power stage goes off before anything else. */
void hal_actuate(const int32_t *actuators, int torque_on);
}

namespace esmaml {

const uint8_t NOT_WIRED = 255;

/* ---- the controller ---- */

/* Power stage off: the first line of setup(), and what is called whenever there is no torque. */
void power_stage(uint8_t pin, bool on);

/* Starts the line, the watchdog timer (on an AVR) and the firmware. `wired` false: it answers, and refuses to be armed.
 * `heartbeat` toggles once a control period, behind the commands of that period. */
void begin(bool wired, uint8_t heartbeat, unsigned long baud = 1000000UL);

/* One turn of the main loop: call it again at once. A turn that takes long delays the control period. */
void turn();

/* ---- sensors ---- */

/* Quadrature encoder number 0, 1, ... of ENCODERS: each edge of either channel is a count. */
void encoder_begin(uint8_t number, uint8_t pin_a, uint8_t pin_b);
int32_t encoder(uint8_t number);

/* Counts of an analogue input, with as many bits as Arduino's analogRead() gives: 10 unless changed. */
int32_t analog(uint8_t pin);

/* 16 bits with a sign out of a sensor at SPI: the higher byte in register `at`, the lower one in the next. */
void spi_begin(uint8_t pin_select);
int32_t spi_register(uint8_t pin_select, uint8_t at);

/* ---- motors ---- */

/* PWM of `top` steps and a direction. On an AVR, the pins of timer 1 (Uno D9, D10; Mega D11, D12) have all of them at
 * 2 kHz for a top of 1000, other pins the 256 steps of analogWrite(). */
void motor_begin(uint8_t pin_pwm, uint8_t pin_reverse, uint16_t top);
void motor(uint8_t pin_pwm, uint8_t pin_reverse, int32_t count);

} // namespace esmaml

#endif
