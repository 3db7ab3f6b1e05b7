/*
 * pin.h - a pin named once, as LETTER, BIT of its port, for the chip's program and for the program that emulates it.
 */
#ifndef PIN_H
#define PIN_H

#define PIN_PORT_(letter, bit) PORT##letter
#define PIN_DDR_(letter, bit) DDR##letter
#define PIN_INPUT_(letter, bit) PIN##letter
#define PIN_BIT_(letter, bit) bit
#define PIN_LETTER_(letter, bit) (#letter[0])

/* the argument is the pair, expanded already or not */
#define PIN_PORT(...) PIN_PORT_(__VA_ARGS__)
#define PIN_DDR(...) PIN_DDR_(__VA_ARGS__)
#define PIN_INPUT(...) PIN_INPUT_(__VA_ARGS__)
#define PIN_BIT(...) PIN_BIT_(__VA_ARGS__)
#define PIN_LETTER(...) PIN_LETTER_(__VA_ARGS__)

#endif
