/* chip.h - an ATmega328P as on an Arduino Uno: what avr/hal_avr.c and avr/emulator.c ask of a chip. */
#ifndef CHIP_H
#define CHIP_H

#define CHIP_NAME "atmega328p"
#define CHIP_RAM_END 0x8FF
#define CHIP_EEPROM_BYTES 1024u

#define MOTOR_0_PWM B, 1     /* D9, OC1A */
#define MOTOR_0_REVERSE B, 0 /* D8 */
#define MOTOR_1_PWM B, 2     /* D10, OC1B */
#define MOTOR_1_REVERSE D, 7 /* D7 */
#define POWER_STAGE D, 6     /* D6 */
#define TICK C, 5            /* A5 */
#define ENCODERS_FROM D, 2   /* D2 to D5: both channels of encoder 0, then of 1 */
#define SPI_SELECT C, 4      /* A4 */
#define SPI_MASTER B, 2      /* D10: an output while this chip is the master */
#define SPI_OUT B, 3         /* D11 */
#define SPI_CLOCK B, 5       /* D13; D12 is the input */

/* the four pins share an interrupt */
#define ENCODER_VECTOR PCINT2_vect
#define ENCODER_OTHER_VECTORS
#define ENCODERS_COUNTED 0x68 /* PCICR in the data space: 0 while nobody counts edges */
#define ENCODER_START() (PCMSK2 = 0x0Fu << 2, PCICR = _BV(PCIE2))
#define RECEIVED_VECTOR USART_RX_vect
#define SENDABLE_VECTOR USART_UDRE_vect

#endif
