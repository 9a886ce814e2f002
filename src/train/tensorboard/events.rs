//! TensorBoard's event files: scalars as protobuf messages in TFRecord frames.
//!
//! A frame is the length (u64), the masked CRC-32C of those eight bytes, the message, and its masked
//! CRC-32C, all little-endian. Sources: `tensorflow/core/lib/io/record_writer.h` for the frame,
//! `tensorflow/core/util/event.proto` and `tensorflow/core/framework/summary.proto` for the field
//! numbers.

use std::io::{self, Write};

/// Writes events to a file.
#[derive(Debug)]
pub(super) struct Events<W> {
    out: W,
}

impl<W: Write> Events<W> {
    /// Begins a file: the first event is the version.
    pub(super) fn new(out: W, wall_time: f64) -> io::Result<Events<W>> {
        let mut events = Events { out };
        let mut event = Message::default();
        event.double(1, wall_time);
        event.bytes(3, b"brain.Event:2");
        events.frame(&event.0)?;
        Ok(events)
    }

    /// Adds the values of a step, each with its tag. `wall_time` is in seconds since 1970.
    pub(super) fn scalars(
        &mut self,
        wall_time: f64,
        step: u64,
        scalars: &[(&str, f64)],
    ) -> io::Result<()> {
        let mut summary = Message::default();
        for (tag, scalar) in scalars {
            let mut value = Message::default();
            value.bytes(1, tag.as_bytes());
            value.float(2, *scalar as f32);
            summary.bytes(1, &value.0);
        }
        let mut event = Message::default();
        event.double(1, wall_time);
        event.varint(2, step);
        event.bytes(5, &summary.0);
        self.frame(&event.0)?;
        self.out.flush()
    }

    fn frame(&mut self, message: &[u8]) -> io::Result<()> {
        let length = (message.len() as u64).to_le_bytes();
        self.out.write_all(&length)?;
        self.out.write_all(&masked_crc(&length).to_le_bytes())?;
        self.out.write_all(message)?;
        self.out.write_all(&masked_crc(message).to_le_bytes())
    }
}

/// A protobuf message that is being written, field by field.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn tag(&mut self, field: u64, wire_type: u64) {
        self.number(field << 3 | wire_type);
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.tag(field, 0);
        self.number(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.tag(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.tag(field, 2);
        self.number(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.tag(field, 5);
        self.0.extend(value.to_le_bytes());
    }
}

fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// Castagnoli's CRC, bit by bit: an epoch has a few hundred bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let byte = |crc: u32, byte: &u8| {
        let bit = |crc: u32, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
        (0..8).fold(crc ^ u32::from(*byte), bit)
    };
    !bytes.iter().fold(!0, byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn an_event_is_framed_and_encoded_as_tensorflow_does() {
        let mut file = Vec::new();
        let mut events = Events::new(&mut file, 0.0).unwrap();
        let version = events.out.len();
        events.scalars(1.5, 300, &[("a", 0.5)]).unwrap();
        let record = &file[version..];
        let message = [
            &[0x09][..],
            &1.5f64.to_le_bytes(),
            &[0x10, 0xAC, 0x02],
            &[0x2A, 10, 0x0A, 8, 0x0A, 1, b'a', 0x15],
            &0.5f32.to_le_bytes(),
        ]
        .concat();
        assert_eq!(record[..8], (message.len() as u64).to_le_bytes());
        assert_eq!(record[12..12 + message.len()], message);
        assert_eq!(record.len(), message.len() + 16);
    }
}
