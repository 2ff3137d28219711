type Error = Box<dyn std::error::Error>;

pub fn handle(body: Vec<u8>) -> Result<Vec<u8>, Error> {
    let name = String::from_utf8(body)?;
    Ok(format!("Hello, {}!", name.trim()).into_bytes())
}
