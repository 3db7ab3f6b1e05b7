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
#define ENCODERS_FROM D, 0   /* D21 down to D18: both channels of encoder 0, then of 1 */
#define SPI_SELECT B, 0      /* D53 */
#define SPI_MASTER B, 0      /* the same: an output while this chip is the master */
#define SPI_OUT B, 2         /* D51 */
#define SPI_CLOCK B, 1       /* D52; D50 is the input */

/* each of the four pins has an interrupt of its own, at any edge */
#define ENCODER_VECTOR INT0_vect
#define ENCODER_OTHER_VECTORS \
    ISR(INT1_vect, ISR_ALIASOF(INT0_vect)); \
    ISR(INT2_vect, ISR_ALIASOF(INT0_vect)); \
    ISR(INT3_vect, ISR_ALIASOF(INT0_vect));
#define ENCODERS_COUNTED 0x3D /* EIMSK in the data space: 0 while nobody counts edges */
#define ENCODER_START() (EICRA = _BV(ISC00) | _BV(ISC10) | _BV(ISC20) | _BV(ISC30), EIMSK = 0x0F)
#define RECEIVED_VECTOR USART0_RX_vect
#define SENDABLE_VECTOR USART0_UDRE_vect

#endif
