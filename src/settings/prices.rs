//! The price tables as written: the one that is compiled in and the one that `[costs] prices` names. What an entry means
//! is for their reader to say.

use figment::Figment;
use figment::providers::{Format, Toml};
use serde_json::Value;

use super::{Costs, Problem};

/// `config/prices.toml` as compiled in.
const SHIPPED: &str = include_str!("../../config/prices.toml");

impl Costs {
    /// The tables; entries of a later one count more.
    ///
    /// # Errors
    /// When the owner's cannot be read or is no TOML.
    pub fn tables(&self) -> Result<Vec<Value>, Problem> {
        let mut tables = vec![table(SHIPPED)?];
        if let Some(path) = &self.prices {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Problem::new(KEY, format!("cannot read {}: {error}", path.display())))?;
            tables.push(table(&text)?);
        }
        Ok(tables)
    }
}

const KEY: &str = "costs.prices";

fn table(text: &str) -> Result<Value, Problem> {
    let read = Figment::from(Toml::string(text)).extract();
    read.map_err(|error| Problem::new(KEY, format!("this is no table of prices: {}", error.to_string().trim())))
}
