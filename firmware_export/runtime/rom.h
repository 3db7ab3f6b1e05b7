/*
 * rom.h - constants that stay in flash. On an AVR, flash is an address space of its own: an array that is not marked
 * is copied to RAM at the start, where there are 2 KB for everything. ROM marks it, rom_*() read one element of it.
 * Elsewhere both are nothing.
 */
#ifndef ROM_H
#define ROM_H

#include <stdint.h>

#if defined(__AVR__)
#include <avr/pgmspace.h>
#define ROM PROGMEM
#define rom_u8(address) pgm_read_byte(address)
#define rom_u16(address) pgm_read_word(address)
#define rom_i32(address) ((int32_t)pgm_read_dword(address))
#define rom_f32(address) pgm_read_float(address)
#define rom_char(address) ((char)pgm_read_byte(address))
#else
#define ROM
#define rom_u8(address) (*(address))
#define rom_u16(address) (*(address))
#define rom_i32(address) (*(address))
#define rom_f32(address) (*(address))
#define rom_char(address) (*(address))
#endif

#endif
