//! What becomes of a recipient on the route of its message. A national number means something only in a country: it is
//! completed in the country of the route, or nothing is sent. As it is written it would reach somebody else.

use crate::sms::{Msisdn, NumberReading, NumberingPlan, UnfitNumber};

/// What separates recipients in one text, at one service or another.
const SEPARATORS: &[char] = &[',', ';', '|', '/', '<', '\n', '\r', '\t'];

/// The countries in which the recipients of a message are read.
#[derive(Clone, Debug)]
pub struct RecipientCountries<'p> {
    /// The country of the message's route.
    pub own: Option<&'p NumberingPlan>,
    /// The countries of all routes.
    pub routes: Vec<&'p NumberingPlan>,
}

/// A recipient that can be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientForm {
    /// It stays as it is.
    AsWritten,
    /// A national number, with the country code of the route.
    Completed(Msisdn),
}

/// Why nothing is sent to a recipient. It names no number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientFault {
    /// No phone number.
    #[error(transparent)]
    Unfit(UnfitNumber),
    /// A national number of a country whose routes do not take this message.
    #[error(
        "a recipient is a number of +{0} without its country code, and no route for that country takes this message; write every recipient with + and its country code, or those of different countries in requests of their own"
    )]
    OtherRoute(&'static str),
    /// A national number in a list that the description does not know.
    #[error(
        "several recipients are in one text, where the country code of a national number cannot be added; write each with + and its country code, or in a request of its own"
    )]
    List,
    /// Recipients in a field of their own form.
    #[error(
        "the field `{0}` holds recipients, and the country code of a national number cannot be added there; write the recipients in the field of a single message, or each in a request of its own"
    )]
    Field(String),
}

impl RecipientCountries<'_> {
    /// Whether a national number is possible.
    pub fn has_any(&self) -> bool {
        self.own.is_some() || !self.routes.is_empty()
    }

    /// Reads one recipient as the backend wrote it.
    pub fn judge(&self, text: &str) -> Result<RecipientForm, RecipientFault> {
        match self.own.map(|plan| plan.read(text)) {
            Some(NumberReading::National(number)) => return Ok(RecipientForm::Completed(number)),
            Some(NumberReading::Unfit(unfit)) => return Err(RecipientFault::Unfit(unfit)),
            Some(NumberReading::AsWritten) | None => {}
        }
        if self.own.is_some_and(|plan| plan.is_own(text)) {
            return Ok(RecipientForm::AsWritten);
        }
        self.check_list(text)?;
        self.check_other_countries(text)?;
        Ok(RecipientForm::AsWritten)
    }

    /// A list is forwarded as it is written only if each of its numbers is.
    fn check_list(&self, text: &str) -> Result<(), RecipientFault> {
        let parts: Vec<&str> = text.split(SEPARATORS).map(str::trim).collect();
        let mut parts = parts.iter().filter(|part| !part.is_empty());
        let is_list = parts.clone().nth(1).is_some();
        let stays = |part: &&str| matches!(self.judge(part), Ok(RecipientForm::AsWritten));
        if is_list && !parts.all(stays) {
            return Err(RecipientFault::List);
        }
        Ok(())
    }

    /// A number that is national in the country of another route would be read as one abroad.
    fn check_other_countries(&self, text: &str) -> Result<(), RecipientFault> {
        let mut first_unfit = None;
        for plan in &self.routes {
            match plan.read(text) {
                NumberReading::National(_) => return Err(RecipientFault::OtherRoute(plan.code())),
                NumberReading::Unfit(unfit) => first_unfit = first_unfit.or(Some(unfit)),
                NumberReading::AsWritten => {}
            }
        }
        match first_unfit.filter(|_| self.own.is_none()) {
            Some(unfit) => Err(RecipientFault::Unfit(unfit)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
