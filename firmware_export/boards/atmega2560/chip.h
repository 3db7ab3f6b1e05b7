/* chip.h - an ATmega2560 as on an Arduino Mega: what avr/hal_avr.c and avr/emulator.c ask of a chip. */
#ifndef CHIP_H
#define CHIP_H

#define CHIP_NAME "atmega2560"
#define CHIP_RAM_END 0x21FF
#define CHIP_EEPROM_BYTES 4096u

#define MOTOR_0_PWM B, 5     /* D11, OC1A */
#define MOTOR_0_REVERSE B, 4 /* D10 */
#define MOTOR_1_PWM B, 6     /* D12, OC1B */
#define MOTOR_1_REVERSE H, 6 /* D9 */
#define POWER_STAGE H, 5     /* D8 */
#define TICK B, 7            /* D13 */
#define ENCODERS_FROM B, 0   /* D53 down to D50: both channels of encoder 0, then of 1 */

#define ENCODER_VECTOR PCINT0_vect
#define ENCODER_MASK PCMSK0
#define ENCODER_ENABLE PCIE0
#define RECEIVED_VECTOR USART0_RX_vect
#define SENDABLE_VECTOR USART0_UDRE_vect

#endif
