/*
 * x_series.h - what is used of the control table that the X series servos share (XL430, XC430, XM430, XM540, ...), as
 * their maker publishes it, and of that of the devices beside them.
 */
#ifndef X_SERIES_H
#define X_SERIES_H

/* EEPROM: can be written without torque only */
#define X_RETURN_DELAY 9u /* 2 us */
#define X_DRIVE_MODE 10u
#define X_OPERATING_MODE 11u
#define X_POSITION_CONTROL 3
#define X_PWM_LIMIT 36u
#define X_MAX_POSITION 48u
#define X_MIN_POSITION 52u
/* RAM */
#define X_TORQUE_ENABLE 64u
#define X_STATUS_RETURN 68u
#define X_HARDWARE_ERROR 70u
#define X_BUS_WATCHDOG 98u /* 20 ms; -1: it has stopped the servo */
#define X_GOAL_PWM 100u /* in position control: the most that it gives its motor */
#define X_PROFILE 108u     /* acceleration (4), velocity (4); 0: none */
#define X_GOAL_POSITION 116u
#define X_PRESENT_POSITION 132u
#define X_INDIRECT_ADDRESS 168u /* 2 bytes each: which address stands at the byte of X_INDIRECT_DATA */
#define X_INDIRECT_DATA 224u

/* A device beside the servos: registers of 4 bytes, signed, read only, each the count of a sensor. */
#define DEVICE_REGISTERS 128u

#endif
