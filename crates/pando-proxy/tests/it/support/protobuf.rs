//! Messages of protobuf, read by the letter of the encoding and knowing no schema: what they hold, by field number.

/// A message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(Vec<(u32, Value)>);

#[derive(Debug, Clone)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Message {
    pub(crate) fn decode(mut bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let value = match key & 7 {
                0 => Value::Number(varint(&mut bytes)),
                1 => Value::Number(u64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
                2 => {
                    let length = varint(&mut bytes).try_into().unwrap();
                    Value::Bytes(take(&mut bytes, length).to_vec())
                }
                5 => Value::Number(u64::from(u32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap()))),
                other => panic!("wire type {other}"),
            };
            fields.push((u32::try_from(key >> 3).unwrap(), value));
        }
        Self(fields)
    }

    pub(crate) fn has(&self, field: u32) -> bool {
        self.0.iter().any(|(number, _)| *number == field)
    }

    fn bytes(&self, field: u32) -> Vec<&[u8]> {
        let wanted = self.0.iter().filter(|(number, _)| *number == field);
        wanted
            .map(|(_, value)| match value {
                Value::Bytes(bytes) => &**bytes,
                Value::Number(_) => panic!("field {field} is a number"),
            })
            .collect()
    }

    pub(crate) fn messages(&self, field: u32) -> Vec<Self> {
        self.bytes(field).into_iter().map(Self::decode).collect()
    }

    /// What is left out is empty.
    pub(crate) fn text(&self, field: u32) -> String {
        self.bytes(field).pop().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).unwrap_or_default()
    }

    pub(crate) fn hex(&self, field: u32) -> String {
        self.bytes(field).pop().unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What is left out is zero.
    pub(crate) fn number(&self, field: u32) -> u64 {
        let found = self.0.iter().rev().find(|(number, _)| *number == field);
        match found {
            Some((_, Value::Number(number))) => *number,
            Some(_) => panic!("field {field} is no number"),
            None => 0,
        }
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("a number without an end")
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at_checked(count).expect("a whole message");
    *bytes = rest;
    taken
}
